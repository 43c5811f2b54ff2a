//! Files and storage on a real disk: what is refused, what is stored, and what survives.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]
#![expect(clippy::disallowed_methods, reason = "tests make the world that a spell must not leave")]

mod concurrent;
mod jail;
mod kill;
mod race;
mod storage;
mod world;
mod write;
