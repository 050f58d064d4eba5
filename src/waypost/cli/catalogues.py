"""The event types that other vendors' APIs have, to be loaded as a project's catalogue."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final


class Vendor(StrEnum):
    """Whose types they are."""

    LITHIC = "lithic"
    STEDI = "stedi"


_LITHIC: Final = """
    account_holder.created
    account_holder.updated
    account_holder.verification
    account_holder_document.updated
    auth_rules.backtest_report.created
    balance.updated
    book_transfer_transaction.created
    book_transfer_transaction.updated
    card.converted
    card.created
    card.pin_updated
    card.reissued
    card.renewed
    card.shipped
    card.updated
    card_authorization.challenge
    card_authorization.challenge_response
    card_transaction.enhanced_data.created
    card_transaction.enhanced_data.updated
    card_transaction.updated
    claim.created
    claim.updated
    claim_document.accepted
    claim_document.rejected
    claim_document.uploaded
    digital_wallet.tokenization_result
    digital_wallet.tokenization_two_factor_authentication_code
    digital_wallet.tokenization_two_factor_authentication_code_sent
    digital_wallet.tokenization_updated
    dispute.updated
    dispute_evidence.upload_failed
    dispute_transaction.created
    dispute_transaction.updated
    embed.session_generated
    embed.viewed
    external_bank_account.created
    external_bank_account.updated
    external_payment.created
    external_payment.updated
    financial_account.created
    financial_account.updated
    funding_event.created
    internal_transaction.created
    internal_transaction.updated
    loan_tape.created
    loan_tape.updated
    management_operation.created
    management_operation.updated
    network_total.created
    network_total.updated
    payment_transaction.created
    payment_transaction.updated
    settlement_report.updated
    statements.created
    three_ds_authentication.challenge
    three_ds_authentication.created
    three_ds_authentication.updated
    tokenization.approval_request
    tokenization.result
    tokenization.two_factor_authentication_code
    tokenization.two_factor_authentication_code_sent
    tokenization.updated
"""

_STEDI: Final = """
    enrollment.activated
    enrollment.rejected
    enrollment.task.assigned
    enrollment.task.completed
    enrollment.task.deleted
    enrollment.updated
    event.ping
    file.failed
    file.processed
    transaction.processed
"""

TYPES: Final[Mapping[Vendor, tuple[str, ...]]] = {
    Vendor.LITHIC: tuple(_LITHIC.split()),
    Vendor.STEDI: tuple(_STEDI.split()),
}
"""As their clients know them."""


def catalogue(vendor: Vendor) -> dict[str, Any]:
    """Return a vendor's types as a catalogue, without descriptions and examples."""
    return {"event_types": [{"name": name} for name in TYPES[vendor]]}
