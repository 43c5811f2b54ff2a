//! The calculator: arithmetic through the expressions of `minijinja`. Only numbers and functions are allowed, so that
//! no intermediate value can grow.

use std::collections::BTreeMap;

use llmspell_core::{Error, ErrorKind, Result, Value};
use llmspell_llm::escaped;
use minijinja::Environment;
use minijinja::value::Rest;

/// The maximum length of an expression in bytes, because the parser recurses for each sign.
const LONGEST: usize = 1_000;

/// Evaluates an expression.
pub(super) fn work_out(expression: &str) -> Result<Value> {
    if expression.len() > LONGEST {
        return Err(Error::new(ErrorKind::Parse, format!("an expression has at most {LONGEST} bytes")));
    }
    // Strings and lists are excluded, because they can be repeated without a bound.
    let fits = |letter: char| letter.is_ascii_alphanumeric() || "+-*/%^()., _\t\n".contains(letter);
    if let Some(letter) = expression.chars().find(|letter| !fits(*letter)) {
        return Err(wrong(
            expression,
            &format!("`{}` has no place in it", escaped(letter.encode_utf8(&mut [0; 4]))),
        ));
    }
    let mut environment = Environment::empty();
    for (name, function) in FUNCTIONS {
        environment.add_function(*name, *function);
    }
    environment.add_function("round", |number: f64, digits: Option<i32>| {
        let scale = 10_f64.powi(digits.unwrap_or(0).clamp(-300, 300));
        (number * scale).round() / scale
    });
    environment.add_function("min", |first: f64, rest: Rest<f64>| rest.iter().fold(first, |a, b| a.min(*b)));
    environment.add_function("max", |first: f64, rest: Rest<f64>| rest.iter().fold(first, |a, b| a.max(*b)));
    let known = [("pi", std::f64::consts::PI), ("e", std::f64::consts::E)];
    let explained = |error: minijinja::Error| explain(expression, &error);
    let with_powers = expression.replace('^', "**");
    let compiled = environment.compile_expression(&with_powers).map_err(explained)?;
    let result = compiled.eval(BTreeMap::from(known)).map_err(explained)?;
    let number = f64::try_from(result).map_err(|_| wrong(expression, "it comes to no number"))?;
    if !number.is_finite() {
        return Err(wrong(expression, "it comes to no finite number"));
    }
    Ok(number_of(number))
}

type MathFunction = fn(f64) -> f64;

const FUNCTIONS: &[(&str, MathFunction)] = &[
    ("sqrt", f64::sqrt),
    ("abs", f64::abs),
    ("floor", f64::floor),
    ("ceil", f64::ceil),
    ("exp", f64::exp),
    ("ln", f64::ln),
    ("log10", f64::log10),
    ("sin", f64::sin),
    ("cos", f64::cos),
    ("tan", f64::tan),
];

/// Returns an integer for a whole number that a double represents exactly.
fn number_of(number: f64) -> Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, reason = "whole and in range by the test")]
    match number.fract() == 0.0 && number.abs() <= EXACT {
        true => Value::from(number as i64),
        false => Value::from(number),
    }
}

fn explain(expression: &str, error: &minijinja::Error) -> Error {
    wrong(expression, error.detail().unwrap_or("it cannot be worked out"))
}

fn wrong(expression: &str, why: &str) -> Error {
    Error::new(ErrorKind::Parse, format!("cannot work out `{}`: {why}", escaped(expression)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_is_worked_out() {
        for (expression, result) in [
            ("2 + 3 * 4", Value::from(14)),
            ("(2 + 3) * 4", Value::from(20)),
            ("7 / 2", Value::from(3.5)),
            ("6 / 2", Value::from(3)),
            ("2 ^ 10", Value::from(1024)),
            ("2 ** 0.5", Value::from(2_f64.sqrt())),
            ("-7 % 3", Value::from(2)),
            ("sqrt(16) + abs(-2)", Value::from(6)),
            ("round(2.345, 2)", Value::from(2.35)),
            ("max(1, 5, 3) - min(4, 2)", Value::from(3)),
            ("round(pi * 100) + round(e, 0)", Value::from(317)),
            ("1e3", Value::from(1000)),
        ] {
            assert_eq!(work_out(expression).unwrap(), result, "{expression}");
        }
    }

    #[test]
    fn what_is_no_arithmetic_is_refused_by_name_and_at_once() {
        for (expression, why) in [
            ("'x' * 1000000000", "`'` has no place in it"),
            ("[1] * 1000000000", "`[` has no place in it"),
            ("(1, 2) * 100000000", "repeated sequence is too large"),
            ("(1, 2)", "it comes to no number"),
            ("range(10)", "range is unknown"),
            ("1 / 0", "unable to calculate 1 / 0"),
            ("exp(1000)", "it comes to no finite number"),
            ("2 +", "unexpected end of input"),
        ] {
            let error = work_out(expression).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Parse, "{expression}");
            assert!(error.message().contains(why), "{expression}: {error}");
        }
        assert!(work_out(&"(".repeat(1_001)).is_err());
        assert!(work_out(&"-".repeat(999)).is_err());
        assert!(work_out(&"(".repeat(999)).is_err());
    }
}
