// dP = dout · v, with the exponent of the value row folded in.

// dP of a query row and a key's value row in units of 2^(dout's exponent + top − 25), |dP| ≤ 2^61.
fn folded_gradient(query: u32, key: u32, top: i32) -> vec2<u32> {
    let exponent = bitcast<i32>(v[key + (plane_vectors(params.head_dim) << 1u)].x);
    return shift_right_signed_64(shift_left_64(dot_value(query, key), 25u), distance_to(top, exponent));
}

// dout · v of two rows, exact: ≤ 2^28 · head_dim in magnitude.
fn dot_value(query: u32, key: u32) -> vec2<u32> {
    let vectors = plane_vectors(params.head_dim);
    var high = 0i;
    var middle = 0i;
    var low = 0i;
    for (var i = 0u; i < vectors; i++) {
        let dout_high = dout[query + i];
        let dout_low = dout[query + vectors + i];
        let value_high = v[key + i];
        let value_low = v[key + vectors + i];
        high += dot_bytes(dout_high, value_high);
        middle += dot_bytes(dout_high, value_low) + dot_bytes(dout_low, value_high);
        low += dot_bytes(dout_low, value_low);
    }
    return join_planes(high, middle, low);
}

// The key of a dither stream.
fn dither_key(stream: u32) -> vec2<u32> {
    return vec2(dither[2u + (stream << 1u)], dither[3u + (stream << 1u)]);
}
