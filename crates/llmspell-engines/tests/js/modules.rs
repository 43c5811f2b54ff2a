//! Modules in the spell's folder.

use llmspell_core::{ErrorKind, Value};

use crate::harness::{Stage, shown};

const FILES: [(&str, &str); 12] = [
    (
        "lib/area.js",
        "import { PI } from './numbers.js'; export const area = r => PI * r * r; export default 'area'",
    ),
    ("lib/numbers.js", "export const PI = 3"),
    ("lib/index.js", "export const name = 'index'"),
    ("lib/typed.ts", "export const typed: string = 'typed'"),
    ("lib/plain.mjs", "export const plain = import.meta.url"),
    ("lib/up.js", "export { deep } from '../deep.js'"),
    ("deep.js", "export const deep = 'deep'"),
    ("broken.js", "export const x = 1;\nexport const y = = 2;"),
    ("failing.js", "export const x = null.x;"),
    ("a.js", "import { b } from './b.js'; export const a = 1; export const both = () => a + b()"),
    ("b.js", "import { a } from './a.js'; export const b = () => a + 1"),
    ("waits.js", "export const late = await Promise.resolve('late')"),
];

fn stage() -> Stage {
    Stage::with_files(FILES)
}

#[test]
fn modules_are_found_in_the_spells_folder() {
    let cases = [
        ("import { area } from './lib/area.js'; export default area(2)", Value::from(12)),
        ("import area from './lib/area'; export default area", "area".into()),
        ("import { name } from './lib'; export default name", "index".into()),
        ("import { typed } from './lib/typed'; export default typed", "typed".into()),
        ("import { typed } from './lib/typed.js'; export default typed", "typed".into()),
        ("import { deep } from './lib/up.js'; export default deep", "deep".into()),
        ("export default (await import('./lib/numbers.js')).PI", 3.into()),
        ("import { both } from './a.js'; export default both()", 3.into()),
        ("import { late } from './waits.js'; export default late", "late".into()),
        ("export default await import('./none.js').catch(e => e.kind)", "load".into()),
    ];
    for (script, expected) in cases {
        assert_eq!(stage().eval(script).unwrap(), expected, "{script}");
    }
}

#[test]
fn nothing_else_is_a_module() {
    let cases = [
        ("import './none.js'", "there is no module `./none.js`"),
        ("import 'fs'", "cannot import `fs`: a module's path begins with ./ or ../"),
        (
            "import 'https://example.com/x.js'",
            "cannot import `https://example.com/x.js`: a module's path begins with ./ or ../",
        ),
        ("import '../x.js'", "cannot import `../x.js`: it leads out of the spell's folder"),
        ("import '/etc/passwd'", "cannot import `/etc/passwd`: a module's path begins with ./ or ../"),
        ("await import('./../../x')", "cannot import `./../../x`: it leads out of the spell's folder"),
    ];
    for (script, expected) in cases {
        let error = stage().eval(script).unwrap_err();
        assert_eq!((error.message(), error.kind()), (expected, ErrorKind::Load), "{script}");
    }
}

#[test]
fn a_module_that_fails_says_where() {
    let cases = [
        ("import './broken.js'", "broken.js:2:18: unexpected token in expression: '=' [syntax]"),
        ("import './failing.js'", "failing.js:1:1: TypeError: cannot read property 'x' of null [runtime]"),
        (
            "import { none } from './deep.js'",
            "SyntaxError: Could not find export 'none' in module 'deep.js' [runtime]",
        ),
    ];
    for (script, expected) in cases {
        assert_eq!(shown(&stage().eval(script).unwrap_err()), expected, "{script}");
    }
}
