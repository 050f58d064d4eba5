"""Everything that shows whether Waypost keeps its promises."""
