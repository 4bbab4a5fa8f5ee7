//! How an engine talks to its launcher: messages, the channel they go over, and what `/proc` says
//! of a process. The launcher itself is `main.rs`.
//!
//! Linux only: 5.10 and later.

pub mod channel;
pub mod message;
pub mod stat;
