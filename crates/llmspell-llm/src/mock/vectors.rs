//! The embeddings of the mock: texts that share words have similar vectors.

/// The default number of dimensions.
pub(super) const DIMENSIONS: usize = 64;

/// The maximum number of dimensions.
const MAX_DIMENSIONS: usize = 4_096;

/// Returns a unit vector: the normalized sum of one direction per word.
pub(super) fn of(text: &str, dimensions: usize) -> Vec<f64> {
    let dimensions = dimensions.clamp(1, MAX_DIMENSIONS);
    let mut vector = vec![0.0; dimensions];
    let words = text.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty());
    for word in words {
        let hash = hash(&word.to_lowercase());
        let sign = if hash & 1 == 0 { 1.0 } else { -1.0 };
        let direction = usize::try_from((hash >> 1) % dimensions as u64).unwrap_or(0);
        vector[direction] += sign;
    }
    let length = vector.iter().map(|number| number * number).sum::<f64>().sqrt();
    if length == 0.0 {
        // A text without words, or whose words cancel out, gets a fixed vector.
        vector[0] = 1.0;
    } else {
        vector.iter_mut().for_each(|number| *number /= length);
    }
    vector
}

/// FNV-1a, which is the same on every machine and in every version.
fn hash(word: &str) -> u64 {
    word.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: &str, b: &str) -> f64 {
        of(a, DIMENSIONS).iter().zip(of(b, DIMENSIONS)).map(|(a, b)| a * b).sum()
    }

    #[test]
    fn texts_that_share_words_are_near() {
        assert!((near("A cat sat.", "a CAT sat") - 1.0).abs() < 1e-9);
        assert!(near("a cat sat on the mat", "a cat lay on a mat") > 0.5);
        assert!(near("a cat sat on the mat", "stock prices fell sharply").abs() < 0.3);
        assert_eq!(of("", 3), [1.0, 0.0, 0.0]);
    }
}
