//! The calls of a host, as a table.

use tycoon_rpc::routes::{Route, Verb};

/// The calls by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Info,
    Challenge,
    Offers,
    Quote,
    Accounts,
    Account,
    Close,
    Charges,
    Fund,
    Bid,
    Preview,
    Refund,
    Domains,
    Events,
    Stream,
    Owner,
    SetPolicy,
    SetDraining,
    Evict,
    Ban,
    Withdraw,
    EverybodysAccounts,
}

const fn route(
    call: Call,
    method: Verb,
    path: &'static str,
    answer: &'static str,
    summary: &'static str,
) -> Route<Call> {
    Route { call, method, path, summary, query: &[], body: None, answer, is_signed: true }
}

const fn with_body(route: Route<Call>, body: &'static str) -> Route<Call> {
    Route { body: Some(body), ..route }
}

const fn with_query(route: Route<Call>, query: &'static [(&'static str, &'static str)]) -> Route<Call> {
    Route { query, ..route }
}

const fn open(route: Route<Call>) -> Route<Call> {
    Route { is_signed: false, ..route }
}

const POOL: (&str, &str) = ("pool", "The pool that asks.");
const GENERATION: (&str, &str) = ("generation", "The generation of the plan that asks; older ones are refused.");
const AFTER: (&str, &str) = ("after", "The number of the last event that is known; 0 for none.");
const WAIT: (&str, &str) = ("wait", "For how many seconds to wait where there is nothing new, 20 at most.");
const PAGE: (&str, &str) = ("after", "Where the page before ended.");

/// All calls.
pub(super) const ROUTES: &[Route<Call>] = &[
    open(route(Call::Info, Verb::Get, "/v1/host", "HostInfo", "Who and what the host is.")),
    open(with_body(
        route(Call::Challenge, Verb::Post, "/v1/challenge", "Proof", "Proves that the host answers at this address."),
        "Challenge",
    )),
    with_query(
        route(Call::Offers, Verb::Get, "/v1/offers", "Offers", "What the host sells, as the caller can have it."),
        &[POOL],
    ),
    with_body(
        route(Call::Quote, Verb::Post, "/v1/quotes", "Quote", "Holds minima for a minute at today's price."),
        "QuoteRequest",
    ),
    route(Call::Accounts, Verb::Get, "/v1/accounts", "AccountList", "The caller's host accounts."),
    route(Call::Account, Verb::Get, "/v1/accounts/{pool}", "Account", "The caller's host account for a pool."),
    with_query(
        route(
            Call::Close,
            Verb::Delete,
            "/v1/accounts/{pool}",
            "CloseReport",
            "Closes the host account: its domains go, and what is left goes back.",
        ),
        &[GENERATION],
    ),
    route(
        Call::Charges,
        Verb::Get,
        "/v1/accounts/{pool}/charges",
        "Charges",
        "What the host account was charged lately, line by line.",
    ),
    with_body(
        route(
            Call::Fund,
            Verb::Post,
            "/v1/accounts/{pool}/funds",
            "Account",
            "Credits the host account with an escrow, once. The first one opens the account.",
        ),
        "FundRequest",
    ),
    with_body(route(Call::Bid, Verb::Put, "/v1/accounts/{pool}/bid", "Account", "Sets the bid."), "BidRequest"),
    with_body(
        route(
            Call::Preview,
            Verb::Post,
            "/v1/accounts/{pool}/bid/preview",
            "Preview",
            "What a bid would bring now; nothing is changed.",
        ),
        "PreviewRequest",
    ),
    with_body(
        route(
            Call::Refund,
            Verb::Post,
            "/v1/accounts/{pool}/refunds",
            "Account",
            "Gives back what is above what shall be left.",
        ),
        "RefundRequest",
    ),
    with_body(
        route(Call::Domains, Verb::Post, "/v1/domains", "DomainsReply", "Has the caller's domains be as they should."),
        "DomainsRequest",
    ),
    with_query(
        route(
            Call::Events,
            Verb::Get,
            "/v1/events",
            "Events",
            "What happened to the caller's accounts; to all, for the owner.",
        ),
        &[AFTER, WAIT],
    ),
    with_query(
        route(
            Call::Stream,
            Verb::Get,
            "/v1/events/stream",
            "Event",
            "The same as server-sent events, as they happen; `Last-Event-ID` is the last that is known.",
        ),
        &[AFTER],
    ),
    route(Call::Owner, Verb::Get, "/v1/owner", "OwnerReport", "For the owner: what is set, and how the host does."),
    with_body(
        route(
            Call::SetPolicy,
            Verb::Put,
            "/v1/owner/policy",
            "OwnerReport",
            "For the owner: sets prices and rules, from the next interval on.",
        ),
        "PolicyRequest",
    ),
    with_body(
        route(
            Call::SetDraining,
            Verb::Put,
            "/v1/owner/draining",
            "OwnerReport",
            "For the owner: admits nobody new, or does again.",
        ),
        "DrainRequest",
    ),
    with_body(
        route(Call::Evict, Verb::Post, "/v1/owner/evictions", "EvictReport", "For the owner: puts host accounts out."),
        "EvictRequest",
    ),
    with_body(
        route(
            Call::Ban,
            Verb::Put,
            "/v1/owner/bans",
            "OwnerReport",
            "For the owner: keeps an account out, or lets it in again.",
        ),
        "BanRequest",
    ),
    route(
        Call::Withdraw,
        Verb::Post,
        "/v1/owner/withdrawals",
        "WithdrawReport",
        "For the owner: draws what was charged from all escrows now.",
    ),
    with_query(
        route(
            Call::EverybodysAccounts,
            Verb::Get,
            "/v1/owner/accounts",
            "AccountsPage",
            "For the owner: everybody's host accounts.",
        ),
        &[PAGE],
    ),
];
