// Attention scores: score = (q · k) · score_mantissa · 2^−(score_shift − exponents), where `exponents` is the sum of
// the exponents of the q row and the k row. A score is in Q20, clamped to ±2^30.

// Returns the score of a query and a key. Their rows start at vector `query` of q and at vector `key` of k.
fn key_score(query: u32, key: u32) -> Clamped {
    let exponent_at = plane_vectors(params.head_dim) << 1u;
    let shift = params.score_shift - bitcast<i32>(q[query + exponent_at].x) - bitcast<i32>(k[key + exponent_at].x);
    return score(multiply_64(dot_key(query, key), params.score_mantissa), shift);
}

// Returns the exact inner product of a q row and a k row. Its magnitude is ≤ 2^28 · head_dim.
fn dot_key(query: u32, key: u32) -> vec2<u32> {
    let vectors = plane_vectors(params.head_dim);
    var high = 0i;
    var middle = 0i;
    var low = 0i;
    for (var i = 0u; i < vectors; i++) {
        let query_high = q[query + i];
        let query_low = q[query + vectors + i];
        let key_high = k[key + i];
        let key_low = k[key + vectors + i];
        high += dot_bytes(query_high, key_high);
        middle += dot_bytes(query_high, key_low) + dot_bytes(query_low, key_high);
        low += dot_bytes(query_low, key_low);
    }
    return join_planes(high, middle, low);
}
