//! `require` inside the spell's folder.

use crate::harness::{Stage, shown};

#[test]
fn a_module_is_run_once_and_found_beside_the_file_that_requires_it() {
    let stage = Stage::with_files([
        ("lib/util.luau", "runs = (runs or 0) + 1 return {name = require('./name').name, runs = runs}"),
        ("lib/name.lua", "return {name = 'util'}"),
        ("lib/deep/init.luau", "return require('../../top')"),
        ("top.luau", "return nil"),
        ("params.json.luau", "return 1"),
    ]);
    let script = "local a, b = require('./lib/util'), require('./lib/util')
                  assert(rawequal(a, b) and require('./lib/deep') == nil and require('./top.luau') == nil)
                  assert(require('./lib/../top') == nil)
                  return a.name .. a.runs .. runs";
    assert_eq!(stage.eval(script).unwrap(), "util11".into());
}

#[test]
fn paths_that_lead_outside_are_refused() {
    let cases = [
        ("util", "cannot require `util`: a module's path begins with ./ or ../"),
        ("/etc/passwd", "cannot require `/etc/passwd`: a module's path begins with ./ or ../"),
        ("../up", "cannot require `../up`: it leads out of the spell's folder"),
        ("./a/../../up", "cannot require `./a/../../up`: it leads out of the spell's folder"),
        ("./a\\\\b", "cannot require `./a\\\\b`: it holds a character that no module's path has"),
        ("./a\\0b", "cannot require `./a\\0b`: it holds a character that no module's path has"),
        ("./c:/x", "cannot require `./c:/x`: it holds a character that no module's path has"),
        ("./a//b", "cannot require `./a//b`: it has an empty part"),
        ("./", "cannot require `./`: it has an empty part"),
        ("./none", "there is no module `./none`"),
    ];
    for (path, message) in cases {
        let error = Stage::with_files([]).eval(&format!("\nrequire('{path}')")).unwrap_err();
        assert_eq!(shown(&error), format!("main.luau:2: {message} [load]"));
    }
    let error = Stage::with_files([]).eval("require(5)").unwrap_err();
    assert_eq!(shown(&error), "main.luau:1: argument 1 (`path`): expected string, found integer [argument]");
}

#[test]
fn a_circle_is_named() {
    let stage = Stage::with_files([
        ("a.luau", "return require('./b')"),
        ("b.luau", "local function later() return require('./c') end\nreturn later()"),
        ("c.luau", "return require('./a')"),
    ]);
    let error = stage.eval("return require('./a')").unwrap_err();
    assert_eq!(
        shown(&error),
        "c.luau:1: modules require each other in a circle: a.luau -> b.luau -> c.luau -> a.luau [load]"
    );
}

#[test]
fn errors_in_a_module_name_its_file() {
    let stage = Stage::with_files([
        ("lib/bad.luau", "local x = = 1"),
        ("lib/nul.luau", "return {\n\0}"),
        ("lib/open.luau", "print(1"),
        ("lib/boom.luau", "\nlocal function f() error('boom') end\nf()"),
    ]);
    let error = stage.eval("require('./lib/bad')").unwrap_err();
    assert_eq!(error.place().unwrap().to_string(), "lib/bad.luau:1:11");
    assert!(error.excerpt().unwrap().contains("local x = = 1"));
    let error = stage.eval("require('./lib/nul')").unwrap_err();
    assert_eq!(shown(&error), "lib/nul.luau:2: a source may not hold a NUL character [syntax]");
    // The message's column is that of the file, even after a script has set globals.
    let error = stage.eval("total = 1 require('./lib/open')").unwrap_err();
    assert_eq!(error.message(), "Expected ')' (to close '(' at column 6), got <eof>");
    let error = stage.eval("require('./lib/boom')").unwrap_err();
    assert_eq!(shown(&error), "lib/boom.luau:2: boom [runtime]");
    let trace: Vec<_> = error.traceback().iter().map(|frame| frame.place.to_string()).collect();
    assert_eq!(trace, ["lib/boom.luau:2", "lib/boom.luau:3", "main.luau:1"]);
    // A module that failed can be loaded again.
    let error = stage.eval("pcall(require, './lib/boom') return require('./lib/boom')").unwrap_err();
    assert_eq!(error.message(), "boom");
}
