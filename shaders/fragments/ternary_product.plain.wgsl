// A ternary product: out[t, f] = Σ_p input[t, p] · code[f, p] − Σ_p input[t, p], where code = trit + 1, t is a token, f
// an output feature, and p an element of the input row. It is computed with packed dot products.
// One invocation computes 16 features of 8 tokens in registers. There are no barriers, so software GPUs are fast too.

@compute @workgroup_size(8, 8, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let f = (group.x * 8u + local.x) * 16u;
    let t = ((group.y + params.first_group) * 8u + local.y) * 8u;
    if f >= features() || t >= params.tokens {
        return;
    }
    let words = row_words(input_len());
    // A block of weights or a token past the end is replaced by the last one; `store` drops the extra results.
    let last = vec4<u32>(row_words(features()) - 1u);
    let w = min(vec4<u32>(f >> 2u) + vec4<u32>(0u, 1u, 2u, 3u), last) * block_stride();
    let rows = input_rows(t);
    let next_rows = input_rows(t + 4u);
    var s0 = BlockSums();
    var s1 = BlockSums();
    var s2 = BlockSums();
    var s3 = BlockSums();
    var s4 = BlockSums();
    var s5 = BlockSums();
    var s6 = BlockSums();
    var s7 = BlockSums();
    for (var plane = 0u; plane < planes(); plane++) {
        next_plane(&s0);
        next_plane(&s1);
        next_plane(&s2);
        next_plane(&s3);
        next_plane(&s4);
        next_plane(&s5);
        next_plane(&s6);
        next_plane(&s7);
        for (var p = 0u; p < words; p++) {
            let at = w + vec4<u32>(p * input_stride());
            let codes = blocks_codes(vec4<u32>(
                by_inputs(weights[at.x]), by_inputs(weights[at.y]), by_inputs(weights[at.z]), by_inputs(weights[at.w]),
            ));
            let i = plane * words + p;
            add_dots(&s0, codes, input(rows.x + i));
            add_dots(&s1, codes, input(rows.y + i));
            add_dots(&s2, codes, input(rows.z + i));
            add_dots(&s3, codes, input(rows.w + i));
            add_dots(&s4, codes, input(next_rows.x + i));
            add_dots(&s5, codes, input(next_rows.y + i));
            add_dots(&s6, codes, input(next_rows.z + i));
            add_dots(&s7, codes, input(next_rows.w + i));
        }
    }
    store(t, f, s0);
    store(t + 1u, f, s1);
    store(t + 2u, f, s2);
    store(t + 3u, f, s3);
    store(t + 4u, f, s4);
    store(t + 5u, f, s5);
    store(t + 6u, f, s6);
    store(t + 7u, f, s7);
}
