// Returns the inner products of a dout row with four v rows. The rows start at vector `query` of dout and at the vectors
// `keys` of v.
fn dot_values(query: u32, keys: vec4<u32>) -> Dots {
    let vectors = plane_vectors(params.head_dim);
    var dots = Dots();
    for (var i = 0u; i < vectors; i++) {
        let high = dout[query + i];
        let low = dout[query + vectors + i];
        add_vectors(&dots, 0u, high, low, v[keys.x + i], v[keys.x + vectors + i]);
        add_vectors(&dots, 1u, high, low, v[keys.y + i], v[keys.y + vectors + i]);
        add_vectors(&dots, 2u, high, low, v[keys.z + i], v[keys.z + vectors + i]);
        add_vectors(&dots, 3u, high, low, v[keys.w + i], v[keys.w + vectors + i]);
    }
    return dots;
}
