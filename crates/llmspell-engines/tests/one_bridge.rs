//! One definition of a bridge serves every engine: each engine calls a bridge that it does not know.

use std::sync::Arc;

use llmspell_core::bridge::{Field, return_object};
use llmspell_core::{
    Bridge, Callback, Class, Context, Engine, Error, ErrorKind, HostObject, Method, Result, Source, Value,
};
use llmspell_engines::js::Js;
use llmspell_engines::luau::Luau;

struct Die(u32);

static DIE: std::sync::LazyLock<Arc<Class>> = std::sync::LazyLock::new(|| {
    Arc::new(Class {
        name: "die".into(),
        doc: "A die.".into(),
        methods: vec![Method::sync("sum_of_sides", |_, mut arguments| {
            let sides = arguments.take_self::<Die>()?.0;
            Ok(sides * (sides + 1) / 2)
        })],
        fields: vec![Field::new("side_count", "How many.", |_, mut arguments| {
            Ok(arguments.take_self::<Die>()?.0)
        })],
        entries: None,
        items: None,
    })
});

impl HostObject for Die {
    fn class() -> Arc<Class> {
        Arc::clone(&DIE)
    }
}

fn dice() -> Bridge {
    Bridge::new("dice")
        .constant(Field::new("most_sides", "The most.", |_, _| Ok(100)))
        .method(
            Method::sync("make_die", |_, mut arguments| {
                let sides: u32 = arguments.take("side_count")?;
                if sides == 0 {
                    return Err(Error::new(ErrorKind::NotFound, "there is no such die").hint("take six"));
                }
                return_object(Die(sides))
            })
            .param::<u32>("side_count"),
        )
        .method(
            Method::future("throw_later", |_, mut arguments| async move {
                let each: Callback = arguments.take("on_throw")?;
                for side in [2, 4] {
                    tokio::task::yield_now().await;
                    each.call(vec![side.into()]).await?;
                }
                Ok(vec![2, 4])
            })
            .param::<Callback>("on_throw"),
        )
}

fn run(engine: &dyn Engine, name: &str, text: &str) -> Result<Value> {
    let session = engine.open(&[Arc::new(dice())], Context::builder().build())?;
    let source = Source::new(name, text);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(session.eval(&source))
}

#[test]
fn both_engines_call_a_bridge_that_neither_knows() {
    let cases = [
        ("return dice.make_die(6):sum_of_sides()", "export default dice.makeDie(6).sumOfSides()"),
        ("return dice.make_die(6).side_count", "export default dice.makeDie(6).sideCount"),
        ("return dice.most_sides", "export default dice.mostSides"),
        (
            "local sum = 0 dice.throw_later(function(side) sum += side end) return sum",
            "let sum = 0; await dice.throwLater(side => { sum += side }); export default sum",
        ),
        ("return dice.throw_later(function() end)", "export default dice.throwLater(() => {})"),
        (
            "local _, err = dice.make_die(0) return {err.kind, err.message, err.hint}",
            "let seen; try { dice.makeDie(0) } catch (e) { seen = [e.kind, e.message, e.hint] } export default seen",
        ),
    ];
    for (luau, js) in cases {
        let expected = run(&Luau::new(), "main.luau", luau).expect(luau);
        assert_eq!(run(&Js::new(), "main.js", js).expect(js), expected, "{js}");
    }
    let misuse = [
        ("dice.make_die('six')", "dice.makeDie('six')"),
        ("dice.make_die(0 / 0)", "dice.makeDie(NaN)"),
        (
            "dice.throw_later(function() error('boom', 0) end)",
            "await dice.throwLater(() => { throw 'boom' })",
        ),
    ];
    for (luau, js) in misuse {
        let raised = |result: Result<Value>| {
            result.map_or_else(
                |error| (error.kind(), error.message().replace("side_count", "sideCount")),
                |value| panic!("{value:?}"),
            )
        };
        let luau = raised(run(&Luau::new(), "main.luau", &format!("local _, err = {luau} error(err)")));
        assert_eq!(raised(run(&Js::new(), "main.js", js)), luau, "{js}");
    }
}
