//! Hostile values: they cause an error of the script, never the end of the program.

use crate::support::folder;

#[test]
fn a_value_that_lies_is_an_error_of_the_script() {
    const LONG: &str = "const a = []; a.length = 2 ** 31;";
    const CLAIMS: &str = "the array claims 2147483648 items, more than the memory limit allows";
    for (script, what) in [
        ("json.encode(a)", "argument 1 (`value`)"),
        ("await storage.set('key', a)", "argument 2 (`value`)"),
        ("console.log(await json.encode({ a: [a] }))", "argument 1 (`value`).a[0]"),
        ("export default a", "the result"),
    ] {
        let ran = folder(&[("spell.js", &format!("{LONG} {script}"))]).run(&["run", "-q", "spell.js"]);
        let expected = format!("error: {what}: {CLAIMS}");
        assert_eq!((ran.code, ran.stderr.lines().next()), (1, Some(&*expected)), "{script}");
        let caught = format!("{LONG} try {{ {script} }} catch (error) {{ console.log(error.kind) }}");
        if !script.starts_with("export") {
            let ran = folder(&[("spell.js", &caught)]).run(&["run", "-q", "spell.js"]);
            assert_eq!((ran.code, &*ran.stdout), (0, "argument\n"), "{script}");
        }
    }
    let script =
        "let asked = 0; crypto.getRandomValues({ get byteLength() { return asked++ ? 1e15 : 1 }, set() {} })";
    assert_eq!(folder(&[("spell.js", script)]).run(&["run", "-q", "spell.js"]).code, 0);
}
