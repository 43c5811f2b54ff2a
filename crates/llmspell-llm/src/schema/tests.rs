use proptest::prelude::*;
use serde_json::json;

use super::*;

/// Returns the JSON Schema for a shorthand.
fn expanded(written: Json) -> Json {
    Schema::read(&written).unwrap().json().clone()
}

/// Returns the error for an invalid schema.
fn refused(written: Json) -> String {
    Schema::read(&written).unwrap_err().to_string()
}

/// Returns the violation of a value.
fn misfit(schema: Json, value: Json) -> String {
    Schema::read(&schema).unwrap().check(value).unwrap_err().to_string()
}

#[test]
fn the_short_form_stands_for_json_schema() {
    let person =
        json!({"name": "string", "age": "integer?", "tags": ["string"], "address": {"street": "string"}});
    assert_eq!(
        expanded(person),
        json!({
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "age": {"type": "integer"},
                "tags": {"type": "array", "items": {"type": "string"}},
                "address": {
                    "type": "object",
                    "properties": {"street": {"type": "string"}},
                    "required": ["street"],
                    "additionalProperties": false,
                },
            },
            "required": ["name", "tags", "address"],
            "additionalProperties": false,
        })
    );
    for (short, long) in [
        (json!("string"), json!({"type": "string"})),
        (json!(" number "), json!({"type": "number"})),
        (json!("any"), json!({})),
        (json!({}), json!({})),
        (json!([]), json!({})),
        (json!("red|green | blue"), json!({"type": "string", "enum": ["red", "green", "blue"]})),
        (json!("string|null"), json!({"type": ["string", "null"]})),
        (json!("integer?"), json!({"anyOf": [{"type": "integer"}, {"type": "null"}]})),
        (json!(["integer"]), json!({"type": "array", "items": {"type": "integer"}})),
        (json!([["any"]]), json!({"type": "array", "items": {"type": "array", "items": {}}})),
    ] {
        assert_eq!(expanded(short.clone()), long, "{short}");
    }
}

#[test]
fn a_question_mark_behind_a_name_marks_what_has_no_word_for_it() {
    let schema = expanded(json!({"tags?": ["string"]}));
    assert_eq!(schema["properties"]["tags"]["type"], "array");
    assert_eq!(schema.get("required"), None);
}

#[test]
fn json_schema_may_stand_within_the_short_form() {
    let schema = json!({"age": {"type": "integer", "minimum": 0}, "more": {}});
    assert_eq!(expanded(schema.clone())["properties"]["age"], schema["age"]);
    assert_eq!(misfit(schema, json!({"age": -1, "more": 1})), "$.age: expected at least 0, got integer -1");
}

#[test]
fn fields_may_be_called_what_json_schema_calls_its_own() {
    for short in [
        json!({"type": "red|green"}),
        json!({"title": "string", "description": "string?"}),
        json!({"items": ["string"], "required": "boolean"}),
        json!({"properties": {"name": "string"}}),
        json!({"type": "kind|sort", "items": {"name": "string"}}),
        json!({"name": "string", "type": "string"}),
    ] {
        let schema = expanded(short.clone());
        assert_eq!(
            schema["properties"].as_object().unwrap().len(),
            short.as_object().unwrap().len(),
            "{short}"
        );
    }
    for long in [
        json!({"type": "string", "description": "A name."}),
        json!({"properties": {"name": {"type": "string"}}}),
        json!({"items": {"type": "string"}}),
        json!({"enum": [1, 2]}),
        json!({"const": 1}),
        json!({"anyOf": [{"type": "string"}, {}]}),
        json!({"$ref": "#/$defs/a", "$defs": {"a": {"type": "string"}}}),
        json!(true),
    ] {
        assert_eq!(expanded(long.clone()), long);
    }
}

#[test]
fn what_is_no_schema_is_refused_with_the_place() {
    for (written, message) in [
        (
            json!({"age": "intger"}),
            r#"the schema at $.age: expected a type (string, integer, number, boolean, object, array, any), got string "intger""#,
        ),
        (
            json!({"a": {"b": 7}}),
            "the schema at $.a.b: expected a type, a list of one or a table, got integer 7",
        ),
        (
            json!({"a": ["string", "number"]}),
            r#"the schema at $.a: expected a list of one, for an array of it, got array ["string","number"]"#,
        ),
        (
            json!("string|red"),
            r#"the schema at $: expected either types or words between `|`, got string "string|red""#,
        ),
        (json!("a||b"), r#"the schema at $: expected a word on each side of `|`, got string "a||b""#),
        (json!({"a": "string", "a?": "string"}), "the schema at $: the field `a` is there twice"),
        (
            json!({"type": "object", "properties": {"a": {"type": "integer", "minimum": "x"}}}),
            r#"the schema: $.properties.a.minimum: expected number, got string "x""#,
        ),
        (
            json!({"a": {"type": "integer", "minimum": "x"}}),
            r#"the schema at $.a: $.minimum: expected number, got string "x""#,
        ),
    ] {
        assert_eq!(refused(written.clone()), message, "{written}");
    }
    let hint = |written: Json| Schema::read(&written).unwrap_err().hints().join("; ");
    assert_eq!(hint(json!("intger")), "did you mean `integer`?");
    let nearly = json!({"type": "object", "properties": {"a": {"type": "string"}}, "requird": ["a"], "x": 1});
    assert_eq!(hint(nearly), "if this is meant as JSON Schema: it has no keyword `requird`");
}

#[test]
fn nothing_leaves_the_schema() {
    for reference in ["https://example.com/a.json", "file:///etc/passwd", "other.json", "//host/a", ""] {
        let written = json!({"type": "object", "properties": {"a": {"$ref": reference}}});
        let message = refused(written);
        assert!(
            message.starts_with("the schema at $.properties.a[\"$ref\"]: expected a reference within"),
            "{message}"
        );
    }
    // A field may be named `$ref`, and data may contain anything.
    let named = json!({"type": "object", "properties": {"$ref": {"type": "string"}}, "default": {"$ref": "https://a"}});
    assert!(Schema::read(&named).unwrap().check(json!({"$ref": "x"})).is_ok());
}

#[test]
fn a_schema_has_bounds() {
    let mut deep = json!({"type": "string"});
    for _ in 0..200 {
        deep = json!({"type": "array", "items": deep});
    }
    assert_eq!(refused(deep), "the schema is deeper than 64 levels");
    let many: serde_json::Map<_, _> = (0..20_000).map(|n| (format!("field{n}"), json!("string"))).collect();
    assert_eq!(refused(many.into()), "the schema is larger than 256 KiB");
    let loops = json!({"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/b"}]}, "b": {"$ref": "#/$defs/a"}}});
    assert_eq!(refused(loops), "the schema: a `$ref` leads back to itself");
    assert_eq!(refused(json!({"$ref": "#"})), "the schema: a `$ref` leads back to itself");
    let chain: serde_json::Map<_, _> =
        (0..100).map(|n| (format!("a{n}"), json!({"$ref": format!("#/$defs/a{}", n + 1)}))).collect();
    let chain = json!({"$ref": "#/$defs/a0", "$defs": chain});
    assert_eq!(refused(chain), "the schema: more than 32 schemas in a row say something of the same value");
}

#[test]
fn the_deepest_that_is_allowed_fits_the_stack() {
    let mut definitions = serde_json::Map::new();
    for n in 0..30 {
        definitions.insert(format!("a{n}"), json!({"$ref": format!("#/$defs/a{}", n + 1)}));
    }
    definitions.insert("a30".into(), json!({"items": {"$ref": "#/$defs/a0"}}));
    let schema = Schema::read(&json!({"$ref": "#/$defs/a0", "$defs": definitions})).unwrap();
    let mut deep = json!([]);
    for _ in 1..64 {
        deep = json!([deep]);
    }
    assert!(schema.check(deep.clone()).is_ok());
    let error = schema.check(json!([deep])).unwrap_err();
    assert_eq!(error.expected, "a value of at most 64 levels");
}

/// The same for every keyword that applies a schema to the same value, since each has stack frames of its own.
#[test]
fn the_deepest_chain_of_each_applicator_fits_the_stack() {
    type Wrap = fn(Json) -> Json;
    let wraps: [Wrap; 5] = [
        |inner| json!({"anyOf": [inner]}),
        |inner| json!({"allOf": [inner]}),
        |inner| json!({"if": inner, "then": true}),
        |inner| json!({"dependentSchemas": {"a": inner}}),
        |inner| json!({"not": inner, "unevaluatedProperties": true}),
    ];
    for wrap in wraps {
        let mut definitions = serde_json::Map::new();
        for n in 0..15 {
            definitions.insert(format!("a{n}"), wrap(json!({"$ref": format!("#/$defs/a{}", n + 1)})));
        }
        definitions.insert("a15".into(), json!({"properties": {"a": {"$ref": "#/$defs/a0"}}}));
        let schema = Schema::read(&json!({"$ref": "#/$defs/a0", "$defs": definitions})).unwrap();
        let mut deep = json!({});
        for _ in 1..64 {
            deep = json!({"a": deep});
        }
        let _ = schema.check(deep);
    }
}

#[test]
fn work_that_grows_with_schema_and_value_is_bounded() {
    // The cost of matching is the pattern's weight times the length of the text.
    let schema =
        Schema::read(&json!({"type": "string", "pattern": "^(a{1000}|b{1000}|c{1000}){3}$"})).unwrap();
    let error = schema.check("a".repeat(1_000_000).into()).unwrap_err();
    assert_eq!(error.expected, "a value that takes less work to check");
    // Long lists of constants and of items take linear time.
    let numbers: Vec<i64> = (0..20_000).collect();
    let schema = Schema::read(&json!({"items": {"enum": numbers}, "uniqueItems": true})).unwrap();
    assert!(schema.check(numbers.into()).is_ok());
    // Groups do not capture; captures would take memory per group and state.
    let groups = "()".repeat(10_000);
    assert!(Schema::read(&json!({"type": "string", "pattern": groups})).unwrap().check(json!("a")).is_ok());
}

#[test]
fn a_check_that_would_not_end_is_refused() {
    // The work doubles at each level: a schema with 40 levels has 2^40 paths.
    let definitions: serde_json::Map<_, _> = (0..40)
        .map(|n| {
            let next = json!({"$ref": format!("#/$defs/a{}", n + 1)});
            (format!("a{n}"), json!({"items": {"anyOf": [next, next]}}))
        })
        .chain([("a40".to_owned(), json!({"type": "string"}))])
        .collect();
    let schema = Schema::read(&json!({"$ref": "#/$defs/a0", "$defs": definitions})).unwrap();
    let mut deep = json!(1);
    for _ in 0..40 {
        deep = json!([deep]);
    }
    assert_eq!(schema.check(deep).unwrap_err().expected, "a value that takes less work to check");
    // The same with a schema that refers to itself.
    let node = json!({"$ref": "#"});
    let tree =
        json!({"anyOf": [{"properties": {"a": node}}, {"properties": {"a": node}}, {"required": ["b"]}]});
    let schema = Schema::read(&tree).unwrap();
    let mut deep = json!(1);
    for _ in 0..60 {
        deep = json!({"a": deep});
    }
    assert_eq!(schema.check(deep).unwrap_err().expected, "a value that takes less work to check");
    // An ordinary recursive tree stays within the limit.
    let tree = json!({"value": "integer", "left?": {"$ref": "#"}, "right?": {"$ref": "#"}});
    let tree = json!({"type": "object", "properties": {"value": {"type": "integer"}, "left": tree["left?"], "right": tree["right?"]}, "required": ["value"]});
    let schema = Schema::read(&tree).unwrap();
    let mut grown = json!({"value": 0});
    for n in 0..10 {
        grown = json!({"value": n, "left": grown, "right": grown});
    }
    assert!(schema.check(grown).is_ok());
}

#[test]
fn a_large_list_is_checked_and_says_where_it_does_not_fit() {
    let schema = Schema::read(&json!([{"n": "integer"}])).unwrap();
    let mut items: Vec<Json> = (0..100_000).map(|n| json!({"n": n})).collect();
    assert!(schema.check(items.clone().into()).is_ok());
    items[77_777]["n"] = "x".into();
    assert_eq!(schema.check(items.into()).unwrap_err().path, "$[77777].n");
}

#[test]
fn patterns_take_linear_time_or_are_refused() {
    let schema = Schema::read(&json!({"type": "string", "pattern": "^(a+)+$"})).unwrap();
    assert!(schema.check(format!("{}!", "a".repeat(50_000)).into()).is_err());
    let message = refused(json!({"type": "string", "pattern": r"(a)\1"}));
    assert_eq!(
        message,
        r#"the schema: $.pattern: expected a pattern that can be matched in linear time, got string "(a)\\1""#
    );
    assert!(Schema::read(&json!({"pattern": "(((a{100}){100}){100})"})).is_err());
}

#[test]
fn defaults_are_filled_in_however_deep() {
    let schema = json!({
        "type": "object",
        "properties": {
            "style": {"type": "string", "default": "brief"},
            "page": {"$ref": "#/$defs/page", "default": {}},
            "rows": {"type": "array", "items": {"$ref": "#/$defs/page"}},
            "kept": {"type": "integer", "default": 1},
        },
        "allOf": [{"properties": {"extra": {"default": [1]}}}],
        "additionalProperties": {"properties": {"n": {"default": 0}}},
        "$defs": {"page": {"type": "object", "properties": {"size": {"$ref": "#/$defs/size"}}}, "size": {"type": "integer", "default": 10}},
    });
    let filled = Schema::read(&schema)
        .unwrap()
        .check(json!({"rows": [{}, {"size": 2}], "kept": 7, "other": {}}))
        .unwrap();
    assert_eq!(
        filled,
        json!({
            "rows": [{"size": 10}, {"size": 2}],
            "kept": 7,
            "other": {"n": 0},
            "extra": [1],
            "style": "brief",
            "page": {"size": 10},
        })
    );
}

#[test]
fn a_misfit_names_the_path_what_was_expected_and_what_was_found() {
    let object = |properties: Json| json!({"type": "object", "properties": properties});
    for (schema, value, said) in [
        (json!({"age": "integer"}), json!({"age": "abc"}), r#"$.age: expected integer, got string "abc""#),
        (json!({"age": "integer"}), json!({"age": 1.5}), "$.age: expected integer, got number 1.5"),
        (json!({"age": "integer"}), json!({}), "$.age: expected integer, got nothing"),
        (json!({"age": "integer"}), json!([]), "$: expected object, got array []"),
        (json!({"c": "red|green"}), json!({}), r#"$.c: expected one of "red" or "green", got nothing"#),
        (
            json!({"c": "red|green"}),
            json!({"c": "blue"}),
            r#"$.c: expected one of "red" or "green", got string "blue""#,
        ),
        (
            json!({"a": "any"}),
            json!({"a": 1, "b": null}),
            r#"$.b: expected no other field than "a", got null"#,
        ),
        (
            json!({"items": [{"name": "string"}]}),
            json!({"items": [{"name": "a"}, {"name": "b"}, {"name": false}]}),
            "$.items[2].name: expected string, got boolean false",
        ),
        (
            json!({"odd name": "string"}),
            json!({"odd name": 1}),
            r#"$["odd name"]: expected string, got integer 1"#,
        ),
        (json!({"0": "string"}), json!({"0": 1}), r#"$["0"]: expected string, got integer 1"#),
        (json!("string|null"), json!(1), "$: expected null or string, got integer 1"),
        (
            object(json!({"a": {"minLength": 2}})),
            json!({"a": ""}),
            r#"$.a: expected at least 2 characters, got string """#,
        ),
        (
            object(json!({"a": {"pattern": "^x$"}})),
            json!({"a": "y"}),
            r#"$.a: expected text that matches "^x$", got string "y""#,
        ),
        (
            object(json!({"a": {"maxItems": 1}})),
            json!({"a": [1, 2]}),
            "$.a: expected at most 1 item, got array [1,2]",
        ),
        (
            object(json!({"a": {"exclusiveMinimum": 0}})),
            json!({"a": 0}),
            "$.a: expected more than 0, got integer 0",
        ),
        (object(json!({"a": {"const": 1}})), json!({"a": 2}), "$.a: expected 1, got integer 2"),
        (
            json!({"$ref": "#/$defs/a", "$defs": {"a": {"type": "object", "required": ["b"], "properties": {"b": {"$ref": "#/$defs/c"}}}, "c": {"type": "string"}}}),
            json!({}),
            "$.b: expected string, got nothing",
        ),
    ] {
        assert_eq!(misfit(schema.clone(), value.clone()), said, "{schema} {value}");
    }
}

#[test]
fn the_first_place_in_the_value_counts_and_not_the_first_in_the_schema() {
    let schema = json!({"a": "integer", "b": "integer", "c": {"d": "integer"}});
    assert_eq!(
        misfit(schema.clone(), json!({"c": {"d": "x"}, "b": "x", "a": "x"})),
        r#"$.c.d: expected integer, got string "x""#
    );
    assert_eq!(misfit(schema, json!({"b": 1, "c": {}, "z": 1})), "$.c.d: expected integer, got nothing");
}

#[test]
fn of_alternatives_the_one_that_was_meant_speaks() {
    let circle = json!({"type": "object", "properties": {"kind": {"const": "circle"}, "r": {"type": "number"}}, "required": ["kind", "r"]});
    let square = json!({"type": "object", "properties": {"kind": {"const": "square"}, "side": {"type": "number"}}, "required": ["kind", "side"]});
    for word in ["anyOf", "oneOf"] {
        let protocols = json!({"type": "array", "items": {word: [circle, square]}});
        assert_eq!(
            misfit(protocols.clone(), json!([{"kind": "square", "side": "x"}])),
            r#"$[0].side: expected number, got string "x""#
        );
        assert_eq!(misfit(protocols, json!([7])), "$[0]: expected object, got integer 7");
    }
    let maybe =
        json!({"anyOf": [{"type": "object", "properties": {"a": {"type": "string"}}}, {"type": "null"}]});
    assert_eq!(misfit(maybe.clone(), json!({"a": 1})), "$.a: expected string, got integer 1");
    assert_eq!(misfit(maybe, json!(1)), "$: expected object or null, got integer 1");
}

#[test]
fn what_is_long_is_cut() {
    let long = "é".repeat(10_000);
    let misfit = Schema::read(&json!("integer")).unwrap().check(long.clone().into()).unwrap_err();
    assert_eq!(misfit.got, format!("string \"{}…", "é".repeat(79)));
    let named = Schema::read(&json!({"type": "object", "additionalProperties": false})).unwrap();
    let misfit = named.check(json!({long: 1})).unwrap_err();
    assert!(misfit.path.chars().count() < 90, "{}", misfit.path);
    let many: Vec<_> = (0..100).collect();
    let misfit = Schema::read(&json!({"enum": many})).unwrap().check(json!(-1)).unwrap_err();
    assert_eq!(misfit.expected, "one of 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, …");
}

/// Generates a shorthand schema and a value that fits it.
fn fitting() -> impl Strategy<Value = (Json, Json)> {
    let leaf = prop_oneof![
        "[a-z]{0,8}".prop_map(|text| (json!("string"), json!(text))),
        any::<i32>().prop_map(|number| (json!("integer"), json!(number))),
        any::<bool>().prop_map(|truth| (json!("boolean"), json!(truth))),
        (-1e6..1e6f64).prop_map(|number| (json!("number"), json!(number))),
        Just((json!("up|down"), json!("up"))),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            (inner.clone(), 0..3usize)
                .prop_map(|((schema, value), n)| (json!([schema]), json!(vec![value; n]))),
            proptest::collection::btree_map("[a-z]{1,6}", inner, 1..4).prop_map(|fields| {
                let (mut schemas, mut values) = (serde_json::Map::new(), serde_json::Map::new());
                for (name, (schema, value)) in fields {
                    schemas.insert(format!("{name}_"), schema);
                    values.insert(format!("{name}_"), value);
                }
                (schemas.into(), values.into())
            }),
        ]
    })
}

/// Generates any JSON.
fn anything() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        "[a-z|? ]{0,8}".prop_map(Json::from),
        prop::sample::select(&keywords::TYPES[..]).prop_map(Json::from),
    ];
    let names = prop_oneof![
        "[a-z?]{0,4}",
        prop::sample::select(vec![
            "type",
            "properties",
            "items",
            "$ref",
            "anyOf",
            "enum",
            "required",
            "default"
        ])
        .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(5, 40, 5, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            proptest::collection::vec((names.clone(), inner), 0..5)
                .prop_map(|fields| Json::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    /// A value fits both the shorthand and the JSON Schema that it expands to.
    #[test]
    fn a_value_fits_the_short_form_that_was_written_for_it((schema, value) in fitting()) {
        let schema = Schema::read(&schema).unwrap();
        prop_assert_eq!(schema.check(value.clone()), Ok(value.clone()));
        let again = Schema::read(schema.json()).unwrap();
        prop_assert_eq!(again.json(), schema.json());
        prop_assert_eq!(again.check(value.clone()), Ok(value));
    }

    /// Any JSON is either a valid schema or rejected, and a violation always has a path.
    #[test]
    fn nothing_that_is_given_as_a_schema_panics(written in anything(), value in anything()) {
        match Schema::read(&written) {
            Ok(schema) => if let Err(misfit) = schema.check(value) {
                prop_assert!(misfit.path.starts_with('$'));
                prop_assert!(!misfit.expected.is_empty() && !misfit.got.is_empty());
            },
            Err(error) => {
                prop_assert_eq!(error.kind(), llmspell_core::ErrorKind::Argument);
                prop_assert!(error.message().starts_with("the schema"));
            }
        }
    }
}
