// Attention scores: score = (q · k) · score_mantissa · 2^−(score_shift − exponents), where `exponents` is the sum of
// the exponents of the q row and the k row. A score is in Q20, clamped to ±2^30.

// Returns the score of an inner product of a q row and a k row.
fn score_of(dot: vec2<u32>, exponents: i32) -> Clamped {
    return score(multiply_64(dot, params.score_mantissa), params.score_shift - exponents);
}
