//! Compares numbers as JSON Schema does: by mathematical value, regardless of representation.

use std::cmp::Ordering;

use serde_json::Number;

/// A number in an exact representation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Exact {
    Int(i128),
    /// A fraction, or a whole number outside the range of `i128`.
    Float(f64),
}

/// Just below 2^127. Every whole `f64` of smaller magnitude fits `i128`.
const INT_LIMIT: f64 = 1.7e38;

pub(super) fn exact(number: &Number) -> Exact {
    match (number.as_i128(), number.as_f64()) {
        (Some(int), _) => Exact::Int(int),
        (None, Some(float)) if float.fract() == 0.0 && float.abs() < INT_LIMIT =>
        {
            #[expect(clippy::cast_possible_truncation, reason = "a whole number within the range of i128")]
            Exact::Int(float as i128)
        }
        (None, float) => Exact::Float(float.unwrap_or_default()),
    }
}

/// Whether a number is an integer. `1.0` is one, as in all drafts but Draft 4.
pub(super) fn is_integer(number: &Number) -> bool {
    !number.is_f64() || number.as_f64().is_some_and(|float| float.fract() == 0.0)
}

pub(super) fn compare(a: &Number, b: &Number) -> Ordering {
    match (exact(a), exact(b)) {
        (Exact::Int(a), Exact::Int(b)) => a.cmp(&b),
        (Exact::Float(a), Exact::Float(b)) => a.total_cmp(&b),
        (Exact::Int(a), Exact::Float(b)) => compare_mixed(a, b),
        (Exact::Float(a), Exact::Int(b)) => compare_mixed(b, a).reverse(),
    }
}

/// Compares an integer with a fraction or with a number outside the range of `i128`.
fn compare_mixed(int: i128, float: f64) -> Ordering {
    if float.abs() >= INT_LIMIT {
        return if float > 0.0 { Ordering::Less } else { Ordering::Greater };
    }
    #[expect(clippy::cast_possible_truncation, reason = "within the range of i128")]
    let floor = float.floor() as i128;
    // `float` has a fraction, so the two are never equal.
    if int <= floor { Ordering::Less } else { Ordering::Greater }
}

/// Whether a number is a multiple of another. Both are taken as decimals, as written: 0.3 is a multiple of 0.1,
/// although neither is exact in binary.
pub(super) fn is_multiple_of(number: &Number, divisor: &Number) -> bool {
    let (Some((mantissa, exponent)), Some((modulus, unit))) = (decimal(number), decimal(divisor)) else {
        return false;
    };
    let power = exponent - unit;
    match (mantissa, modulus) {
        (0, _) => true,
        (_, 0) => false,
        // `mantissa * 10^power` must be 0 modulo the divisor. The divisor fits 64 bits, so products fit 128.
        _ if power >= 0 => {
            let remainder = (mantissa % modulus) * power_of_ten(power.unsigned_abs(), modulus);
            remainder.is_multiple_of(modulus)
        }
        _ => 10u128
            .checked_pow(power.unsigned_abs())
            .and_then(|scale| modulus.checked_mul(scale))
            // A divisor of more than 128 bits is larger than any mantissa.
            .is_some_and(|modulus| mantissa.is_multiple_of(modulus)),
    }
}

/// Returns the absolute value as `mantissa * 10^exponent`, from the shortest decimal that parses to the number.
fn decimal(number: &Number) -> Option<(u128, i32)> {
    if let Some(int) = number.as_i128() {
        return Some((int.unsigned_abs(), 0));
    }
    let text = format!("{:e}", number.as_f64()?.abs());
    let (digits, exponent) = text.split_once('e')?;
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let mantissa = format!("{whole}{fraction}").parse().ok()?;
    Some((mantissa, exponent.parse::<i32>().ok()? - i32::try_from(fraction.len()).ok()?))
}

/// Returns `10^power` modulo a number of at most 64 bits.
fn power_of_ten(mut power: u32, modulus: u128) -> u128 {
    let (mut result, mut base) = (1 % modulus, 10 % modulus);
    while power > 0 {
        if power & 1 == 1 {
            result = result * base % modulus;
        }
        base = base * base % modulus;
        power >>= 1;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Number {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn numbers_compare_by_their_value() {
        for (a, b, expected) in [
            ("1", "1.0", Ordering::Equal),
            ("-0.0", "0", Ordering::Equal),
            ("1", "1.5", Ordering::Less),
            ("-1", "-1.5", Ordering::Greater),
            ("9007199254740993", "9007199254740992.0", Ordering::Greater),
            ("18446744073709551615", "18446744073709551616", Ordering::Less),
            ("18446744073709551615", "1e300", Ordering::Less),
            ("-9223372036854775808", "-1e300", Ordering::Greater),
            ("1e300", "1e299", Ordering::Greater),
        ] {
            assert_eq!(compare(&number(a), &number(b)), expected, "{a} {b}");
            assert_eq!(compare(&number(b), &number(a)), expected.reverse(), "{b} {a}");
        }
    }

    #[test]
    fn multiples_are_of_decimals() {
        for (value, divisor, expected) in [
            ("0", "0.1", true),
            ("0.3", "0.1", true),
            ("19.99", "0.01", true),
            ("0.0075", "0.0001", true),
            ("0.00751", "0.0001", false),
            ("4.5", "1.5", true),
            ("35", "1.5", false),
            ("-7", "2", false),
            ("-8", "2", true),
            ("1e308", "0.5", true),
            ("1e308", "0.123456789", false),
            ("9007199254740993", "2", false),
            ("12391239123", "1e-8", true),
            ("1e-300", "1e300", false),
            ("5e-324", "5e-324", true),
            ("18446744073709551615", "18446744073709551615", true),
        ] {
            assert_eq!(is_multiple_of(&number(value), &number(divisor)), expected, "{value} {divisor}");
        }
    }
}
