//! The calls of the bank, by name, and the table that matches and describes them.

use tycoon_rpc::routes::{Route, Verb};

/// A call of the bank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Info,
    OwnAccount,
    Accounts,
    OpenAccount,
    Account,
    CloseAccount,
    SetAllowance,
    History,
    Lines,
    ChangeKeys,
    Transfer,
    Transfers,
    Paid,
    Refund,
    Reserve,
    Reservation,
    Resolve,
    Issue,
    OpenEscrow,
    Escrows,
    Escrow,
    Settle,
    Claims,
}

type Parameters = &'static [(&'static str, &'static str)];

const PAGES: Parameters = &[("after", "where the page before ended"), ("limit", "how many, at most 500")];

const fn get(
    call: Call,
    path: &'static str,
    summary: &'static str,
    query: Parameters,
    answer: &'static str,
) -> Route<Call> {
    Route { call, method: Verb::Get, path, summary, query, body: None, answer, is_signed: true }
}

const fn post(
    call: Call,
    path: &'static str,
    summary: &'static str,
    body: &'static str,
    answer: &'static str,
) -> Route<Call> {
    Route { call, method: Verb::Post, path, summary, query: &[], body: Some(body), answer, is_signed: true }
}

/// The table.
pub(super) const ROUTES: &[Route<Call>] = &[
    Route {
        is_signed: false,
        ..get(Call::Info, "/v1/bank", "What everybody may know about the bank.", &[], "BankInfo")
    },
    get(Call::OwnAccount, "/v1/account", "The account that the calling key acts for.", &[], "Account"),
    get(
        Call::Accounts,
        "/v1/accounts",
        "The caller's account and its sub-accounts; all accounts for the issuer.",
        PAGES,
        "AccountPage",
    ),
    post(Call::OpenAccount, "/v1/accounts", "Opens an account.", "AccountRequest", "Account"),
    get(Call::Account, "/v1/accounts/{id}", "An account.", &[], "Account"),
    post(
        Call::CloseAccount,
        "/v1/accounts/{id}/close",
        "Closes an account in favour of another.",
        "CloseRequest",
        "Account",
    ),
    post(
        Call::SetAllowance,
        "/v1/accounts/{id}/allowance",
        "Grants a sub-account an allowance, or ends it.",
        "AllowanceRequest",
        "Account",
    ),
    get(
        Call::History,
        "/v1/accounts/{id}/history",
        "What changed the balance, the latest first.",
        &[
            ("before", "where the page before ended"),
            ("limit", "how many, at most 500"),
            ("from", "from this time on, in microseconds"),
            ("to", "before this time, in microseconds"),
            ("kind", "only entries of this kind, such as `earned`"),
        ],
        "EntryPage",
    ),
    get(
        Call::Lines,
        "/v1/accounts/{id}/lines",
        "What hosts drew and gave back, line by line, with their signatures.",
        &[
            ("after", "where the page before ended"),
            ("limit", "how many, at most 500"),
            ("from", "from this time on, in microseconds"),
            ("to", "before this time, in microseconds"),
        ],
        "LinePage",
    ),
    post(
        Call::ChangeKeys,
        "/v1/accounts/{id}/keys",
        "Adds, changes, replaces or removes a key.",
        "KeyChange",
        "Account",
    ),
    post(Call::Transfer, "/v1/transfers", "Moves credits to another account.", "TransferRequest", "Paid"),
    post(
        Call::Transfers,
        "/v1/transfers/batch",
        "Makes several transfers: all or none where they are linked.",
        "TransfersRequest",
        "TransferOutcomes",
    ),
    get(Call::Paid, "/v1/accounts/{payer}/transfers/{id}", "A transfer and its receipt.", &[], "Paid"),
    post(Call::Refund, "/v1/refunds", "Gives back what a transfer paid, in whole or in part.", "RefundRequest", "Paid"),
    post(Call::Reserve, "/v1/reservations", "Reserves credits for another account.", "ReservationOrder", "Reservation"),
    get(Call::Reservation, "/v1/reservations/{payer}/{id}", "A reservation.", &[], "Reservation"),
    post(
        Call::Resolve,
        "/v1/reservations/{payer}/{id}",
        "Posts a reservation, in whole or in part, or voids it.",
        "Resolution",
        "Reservation",
    ),
    post(Call::Issue, "/v1/issue", "Puts credits into circulation; only the issuer may.", "IssueRequest", "Paid"),
    post(Call::OpenEscrow, "/v1/escrows", "Sets credits aside for a host.", "EscrowOrder", "Receipt"),
    get(
        Call::Escrows,
        "/v1/escrows",
        "The escrows that the caller pays, or that pay the caller's host.",
        &[
            ("pool", "only those for this pool"),
            ("host", "only those for this host"),
            ("after", "where the page before ended"),
            ("limit", "how many, at most 500"),
        ],
        "EscrowPage",
    ),
    get(Call::Escrow, "/v1/escrows/{id}", "An escrow and its receipt.", &[], "EscrowInfo"),
    post(
        Call::Settle,
        "/v1/statements",
        "Takes a host's signed running total of what it charged.",
        "Statement",
        "Escrow",
    ),
    get(
        Call::Claims,
        "/v1/claims",
        "What hosts claimed of the caller's escrows beyond what they may have, and were refused.",
        &[],
        "RefusedClaims",
    ),
];
