//! Capabilities of an embedding program, such as a printer or a database.
//!
//! The program implements [`Extension`] for a type and puts a value of it into the [`World`](crate::World). Its bridges
//! reach that value only through [`Context::extension`](crate::Context::extension), whose view checks the permission row
//! of the extension's name and passes the gate. So the effects are recorded, replayed and resumed like those of the
//! built-in capabilities.

/// A capability of an embedding program.
pub trait Extension: Send + Sync + 'static {
    /// The name in recordings, and of the row in [`Permissions::named`](crate::Permissions::named).
    const NAME: &'static str;
}
