//! The language's built-ins: JSON, Promise, Array, String and RegExp, as specified by ECMA-262. The results in a bare
//! QuickJS must also hold in a session, whose prototypes are protected and whose sandbox is closed.

use std::collections::HashMap;

use rquickjs::loader::{ImportAttributes, Loader, Resolver};
use rquickjs::module::Declared;
use rquickjs::{Context, Ctx, Module, Runtime};

use crate::harness::{Files, Stage};

const MAIN: &str = "main.js";

const FILES: [(&str, &str); 7] = [
    (MAIN, include_str!("builtins/main.js")),
    ("check.js", include_str!("builtins/check.js")),
    ("json.js", include_str!("builtins/json.js")),
    ("promise.js", include_str!("builtins/promise.js")),
    ("array.js", include_str!("builtins/array.js")),
    ("string.js", include_str!("builtins/string.js")),
    ("regexp.js", include_str!("builtins/regexp.js")),
];

/// A check in which QuickJS itself differs from the specification: it limits the count of `repeat` even for an empty
/// string.
const OF_QUICKJS: [&str; 1] = ["making 14: () => \"\".repeat(2 ** 31) === \"\""];

struct Bundle;

impl Resolver for Bundle {
    fn resolve<'js>(
        &mut self,
        _: &Ctx<'js>,
        _: &str,
        name: &str,
        _: Option<ImportAttributes<'js>>,
    ) -> rquickjs::Result<String> {
        Ok(name.trim_start_matches("./").to_owned())
    }
}

impl Loader for Bundle {
    fn load<'js>(
        &mut self,
        ctx: &Ctx<'js>,
        name: &str,
        _: Option<ImportAttributes<'js>>,
    ) -> rquickjs::Result<Module<'js, Declared>> {
        Module::declare(ctx.clone(), name, HashMap::from(FILES)[name])
    }
}

/// Returns the title of each check, with the reason if it failed or an empty text.
fn parse(json: &str) -> Vec<(String, String)> {
    serde_json::from_str(json).unwrap()
}

fn bare() -> Vec<(String, String)> {
    let runtime = Runtime::new().unwrap();
    runtime.set_loader(Bundle, Bundle);
    let json: String = Context::full(&runtime).unwrap().with(|ctx| {
        let module = Module::declare(ctx.clone(), MAIN, HashMap::from(FILES)[MAIN]).unwrap();
        let (module, ended) = module.eval().unwrap();
        ended.finish::<()>().unwrap();
        module.get("default").unwrap()
    });
    parse(&json)
}

fn session() -> Vec<(String, String)> {
    let stage = Stage::with([], |cx| cx.modules(std::sync::Arc::new(Files(HashMap::from(FILES)))));
    let value = stage.eval(HashMap::from(FILES)[MAIN]).unwrap();
    parse(&serde_json::from_value::<String>(serde_json::to_value(value).unwrap()).unwrap())
}

fn wrong(told: &[(String, String)]) -> Vec<&str> {
    told.iter().filter(|(_, wrong)| !wrong.is_empty()).map(|(title, _)| title.as_str()).collect()
}

/// The number of checks, so that none gets lost.
const CHECKS: usize = 1467;

#[test]
fn what_holds_in_quickjs_holds_in_a_session() {
    let (bare, session) = (bare(), session());
    let titles = |told: &[(String, String)]| told.iter().map(|(title, _)| title.clone()).collect::<Vec<_>>();
    assert_eq!(titles(&bare), titles(&session));
    assert_eq!(bare.len(), CHECKS);
    assert_eq!(wrong(&bare), OF_QUICKJS);
    assert_eq!(wrong(&session), OF_QUICKJS);
}
