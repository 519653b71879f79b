// The gradient with respect to attention probabilities: dP = dout · v. Each inner product is shifted by the exponent of
// its v row, so that all inner products of a query have the same unit.

// Returns dP of a query and a key in units of 2^(dout exponent + top − 25); |dP| ≤ 2^61. `top` is the largest exponent
// of the v rows that the query sees. The query's dout row starts at vector `query`, the key's v row at vector `key`.
fn folded_gradient(query: u32, key: u32, top: i32) -> vec2<u32> {
    let exponent = bitcast<i32>(v[key + (plane_vectors(params.head_dim) << 1u)].x);
    return shift_right_signed_64(shift_left_64(dot_value(query, key), 25u), distance_to(top, exponent));
}

// Returns the exact inner product of a dout row and a v row. Its magnitude is ≤ 2^28 · head_dim.
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

// Returns the 64-bit key from which the dithers (pseudorandom bits for rounding) of one tensor are generated. `stream`
// is the index of the key in the buffer `dither`.
fn dither_key(stream: u32) -> vec2<u32> {
    return vec2(dither[2u + (stream << 1u)], dither[3u + (stream << 1u)]);
}
