//! A hypervisor on another machine, or in another process, over any pair of byte streams.
//!
//! [`Session`] serves a driver where the hypervisor is (`tycoon host session`, on its standard input and output);
//! [`RemoteHypervisor`] is that driver where the market is. Between them go frames ([`frame`]) with messages
//! ([`message`]):
//!
//! ```text
//!  client                                   host
//!    |  tycoon session\n  Hello              |    both say at once which versions they speak
//!    |              tycoon session\n  Hello  |
//!    |  Call 1, Call 2, Call 3, Ping …       |    a stream of calls: answered in the order in which they are done
//!    |              Answer 2, Pong, Answer 1 |
//!    |  (end of input)                       |    the orderly end: what is under way is finished
//!
//!    |  Console, Data …      Opened, Data …  |    or one console, until the domain or the client ends
//!    |  Upload, File, Data … Have … Stored   |    or one image, from where the last attempt ended
//!    |  Volume    Blocks, Data …, Whole      |    or the blocks of one volume, to the client
//!    |  KeepAsImage                 Stored   |    or a volume becomes an image there
//! ```
//!
//! A stream carries calls, or one console, or one image, or one volume; several streams may be open at once. Everything is bounded:
//! frames by their length, calls by their number, waiting by time. What does not make sense ends the stream with a
//! [`message::Fault`] that says what is wrong.
//!
//! Who may connect is decided by what carries the stream (SSH, or the rights of a local socket). Nothing here asks for
//! names or keys. On the socket of a host's enforcer, a stream may be for one account only ([`binding`]).

pub mod binding;
pub mod frame;
pub mod image;
pub mod local;
pub mod message;
pub mod socket;
pub mod upload;

mod client;
mod connection;
mod console;
mod serve;
mod stream;
mod volume;

pub use client::{Patience, RemoteHypervisor};
pub use serve::{Session, SessionError, SessionLimits};
pub use stream::{ConnectError, Connector, Stream};
