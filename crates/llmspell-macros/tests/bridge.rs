//! The macro `#[bridge]`: the documentation that it collects, and the behaviour of the methods.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;

use llmspell_core::bridge::{Arguments, Handler};
use llmspell_core::{Bridge, Context, Method, Object, Value};
use llmspell_macros::bridge;

/// Greets people.
///
/// It is polite.
#[bridge]
#[since("0.1")]
pub mod greet {
    use llmspell_core::bridge::Rest;
    use llmspell_core::{Context, Result};

    /// Greets somebody by name.
    ///
    /// ```luau
    /// greet.hello("Ada")
    /// ```
    pub fn hello(cx: &Context, name: String, times: Option<u8>) -> Result<String> {
        Ok(format!("{}{}", greeting(cx).repeat(times.unwrap_or(1).into()), name))
    }

    /// Greets nobody and says nothing.
    #[since("0.2")]
    pub async fn silently(_cx: Context) -> Result<()> {
        Ok(())
    }

    /// Counts the people it was given.
    pub fn count(first: String, others: Rest) -> Result<u64> {
        let _ = first;
        Ok(1 + others.0.len() as u64)
    }

    /// The polite word.
    #[constant]
    pub fn r#word() -> Result<&'static str> {
        Ok("hello")
    }

    /// Meets somebody.
    pub fn meet(name: String) -> Result<Person> {
        Ok(Person { name })
    }

    /// A person that was met.
    #[derive(Debug)]
    pub struct Person {
        name: String,
    }

    #[object]
    impl Person {
        /// Says a text to the person.
        pub async fn tell(&self, cx: Context, text: String) -> Result<String> {
            Ok(format!("{}{}: {text}", greeting(&cx), self.name))
        }

        /// Says goodbye.
        pub fn part(&self) -> Result<()> {
            Ok(())
        }

        /// The person's name.
        #[field]
        pub fn name(&self) -> Result<String> {
            Ok(self.name.clone())
        }
    }

    fn greeting(_: &Context) -> &'static str {
        "hi "
    }
}

/// Returns `name(param, param...) -> returns, since` for each method.
fn outline(methods: &[Method]) -> Vec<String> {
    let mut generator = schemars::SchemaGenerator::default();
    methods
        .iter()
        .map(|method| {
            let params: Vec<String> = method
                .params
                .iter()
                .map(|param| {
                    let schema = serde_json::to_string(&(param.schema)(&mut generator)).unwrap();
                    format!("{}{}: {schema}", param.name, if param.rest { "..." } else { "" })
                })
                .collect();
            let returns = method.returns.map_or_else(
                || "nothing".into(),
                |schema| serde_json::to_string(&schema(&mut generator)).unwrap(),
            );
            let waits = if method.is_async() { "async " } else { "" };
            format!("{waits}{}({}) -> {returns}, since {}", method.name, params.join(", "), method.since)
        })
        .collect()
}

fn method(bridge: &Bridge, name: &str) -> Method {
    bridge.methods.iter().find(|method| method.name == name).unwrap().clone()
}

async fn call(method: &Method, arguments: Vec<Value>) -> Result<Value, String> {
    let (cx, arguments) = (Context::builder().build(), Arguments::new(arguments));
    let result = match &method.handler {
        Handler::Sync(function) => function(&cx, arguments),
        Handler::Async(function) => function(cx, arguments).await,
    };
    result.map_err(|error| error.to_string())
}

#[test]
fn a_bridge_knows_everything_about_itself() {
    let bridge = greet::bridge();
    assert_eq!((&*bridge.name, &*bridge.doc), ("greet", "Greets people.\n\nIt is polite."));
    assert_eq!(
        outline(&bridge.methods),
        [
            r#"hello(name: {"type":"string"}, times: {"type":["integer","null"],"format":"uint8","minimum":0,"maximum":255}) -> {"type":"string"}, since 0.1"#,
            "async silently() -> nothing, since 0.2",
            r#"count(first: {"type":"string"}, others...: {"anyOf":[{}]}) -> {"type":"integer","format":"uint64","minimum":0}, since 0.1"#,
            r#"meet(name: {"type":"string"}) -> {"title":"Person","x-llmspell":"object"}, since 0.1"#,
        ]
    );
    assert_eq!(bridge.methods[0].doc, "Greets somebody by name.\n\n```luau\ngreet.hello(\"Ada\")\n```");
    assert_eq!((&*bridge.constants[0].name, &*bridge.constants[0].doc), ("word", "The polite word."));
}

#[test]
fn a_class_knows_everything_about_itself() {
    let bridge = greet::bridge();
    let [class] = &bridge.classes[..] else { panic!("one class: {:?}", bridge.classes) };
    assert_eq!((&*class.name, &*class.doc), ("Person", "A person that was met."));
    assert_eq!(
        outline(&class.methods),
        [
            r#"async tell(text: {"type":"string"}) -> {"type":"string"}, since 0.1"#,
            "part() -> nothing, since 0.1",
        ]
    );
    assert_eq!((&*class.fields[0].name, &*class.fields[0].doc), ("name", "The person's name."));
}

#[tokio::test]
async fn arguments_are_read_by_type_and_errors_name_them() {
    let bridge = greet::bridge();
    let texts = |texts: &[&str]| texts.iter().map(|text| Value::from(*text)).collect::<Vec<_>>();
    let cases = [
        ("hello", vec!["Ada".into(), 2.into()], Ok("hi hi Ada".into())),
        ("hello", vec![], Err("argument 1 (`name`): expected string, found none".to_owned())),
        (
            "hello",
            vec!["Ada".into(), "x".into()],
            Err("argument 2 (`times`): expected integer, found string".into()),
        ),
        ("silently", vec![], Ok(Value::Nil)),
        ("silently", texts(&["x"]), Err("too many arguments: at most 0 are taken".into())),
        ("count", texts(&["a", "b", "c"]), Ok(3.into())),
    ];
    for (name, arguments, expected) in cases {
        assert_eq!(call(&method(&bridge, name), arguments).await, expected, "{name}");
    }
    let word = (bridge.constants[0].get)(&Context::builder().build(), Arguments::new(Vec::new())).unwrap();
    assert_eq!(word, Value::from("hello"));
}

#[tokio::test]
async fn an_object_answers_its_methods_and_fields() {
    let bridge = greet::bridge();
    let person = call(&method(&bridge, "meet"), vec!["Ada".into()]).await.unwrap();
    let class = &bridge.classes[0];
    let tell = &class.methods[0];
    assert_eq!(call(tell, vec![person.clone(), "x".into()]).await, Ok("hi Ada: x".into()));
    assert_eq!(
        call(tell, vec!["x".into()]).await,
        Err("expected Person before the colon, found string".into())
    );
    assert_eq!(
        call(tell, vec![person.clone()]).await,
        Err("argument 1 (`text`): expected string, found none".into())
    );
    let cx = Context::builder().build();
    let name = (class.fields[0].get)(&cx, Arguments::new(vec![person.clone()])).unwrap();
    assert_eq!(name, Value::from("Ada"));
    let Value::Object(person) = person else { panic!("not an object") };
    assert!(Arc::strong_count(&person.downcast::<greet::Person>().unwrap()) > 1);
    assert_eq!(Object::new(greet::meet("Bo".into()).unwrap()).class().name, "Person");
}
