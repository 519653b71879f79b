// Returns the inner products of a q row with four k rows. The rows start at vector `query` of q and at the vectors `keys`
// of k.
fn dot_keys(query: u32, keys: vec4<u32>) -> Dots {
    let vectors = plane_vectors(params.head_dim);
    var dots = Dots();
    for (var i = 0u; i < vectors; i++) {
        let high = q[query + i];
        let low = q[query + vectors + i];
        add_vectors(&dots, 0u, high, low, k[keys.x + i], k[keys.x + vectors + i]);
        add_vectors(&dots, 1u, high, low, k[keys.y + i], k[keys.y + vectors + i]);
        add_vectors(&dots, 2u, high, low, k[keys.z + i], k[keys.z + vectors + i]);
        add_vectors(&dots, 3u, high, low, k[keys.w + i], k[keys.w + vectors + i]);
    }
    return dots;
}
