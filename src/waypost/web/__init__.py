"""What every HTTP surface shares: the protocol, limits, bounded requests, errors."""
