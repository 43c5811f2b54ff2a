//! What `web.js` is built on.

use std::rc::Rc;

use rquickjs::{Ctx, Object};

use super::host::Host;

pub(super) fn add<'js>(host: &Rc<Host>, ctx: &Ctx<'js>, object: &Object<'js>) -> rquickjs::Result<()> {
    let _ = (host, ctx, object);
    Ok(())
}
