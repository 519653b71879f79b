// A ternary product: out[t, f] = Σ_p input[t, p] · code[f, p] − Σ_p input[t, p], where code = trit + 1, t is a token, f
// an output feature, and p an element of the input row.
// One multiplication of an input by code + 2^16 · code′ computes the products for two features, where code is the code
// of the first feature, and code′ that of the second. The sums of the two features share a 32-bit word, which is called
// a pair.
// One invocation computes 16 features of 8 tokens in registers, and reads 16 elements of each input row at a time. For
// one token after another, it adds the products of these elements with the codes of all 16 features to the token's
// pairs. After every 128 elements, before a half of a pair can overflow, the pairs are split and added to i32 sums.

// A block of 16 × 16 weights, as codes (trits plus 1): those of 16 output features for 16 input elements. The block
// consists of four vectors, one for each four consecutive input elements. Each word of a vector belongs to four
// features, and each byte of the word to one of them. The byte contains this feature's two-bit codes for the vector's
// four input elements.
struct QuadBlocks {
    p0: vec4<u32>,
    p1: vec4<u32>,
    p2: vec4<u32>,
    p3: vec4<u32>,
}

@compute @workgroup_size(8, 8, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let f = (group.x * 8u + local.x) * 16u;
    let t = ((group.y + params.first_group) * 8u + local.y) * 8u;
    if f >= features() || t >= params.tokens {
        return;
    }
    let quads = row_words(input_len()) >> 2u; // the number of vectors of four words in a row
    // A block of weights or a token past the end is replaced by the last one; `store` drops the extra results.
    let starts = block_starts(f);
    let rows = input_rows(t) >> vec4<u32>(2u);
    let next_rows = input_rows(t + 4u) >> vec4<u32>(2u);
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
        for (var start = 0u; start < quads; start += 8u) {
            var p0 = Pairs();
            var p1 = Pairs();
            var p2 = Pairs();
            var p3 = Pairs();
            var p4 = Pairs();
            var p5 = Pairs();
            var p6 = Pairs();
            var p7 = Pairs();
            let end = min(start + 8u, quads);
            for (var p = start; p < end; p++) {
                let blocks = blocks_at(starts, p);
                let c0 = pair_codes(blocks.p0);
                let c1 = pair_codes(blocks.p1);
                let c2 = pair_codes(blocks.p2);
                let c3 = pair_codes(blocks.p3);
                let i = plane * quads + p;
                add_pairs(&p0, c0, c1, c2, c3, input(rows.x + i));
                add_pairs(&p1, c0, c1, c2, c3, input(rows.y + i));
                add_pairs(&p2, c0, c1, c2, c3, input(rows.z + i));
                add_pairs(&p3, c0, c1, c2, c3, input(rows.w + i));
                add_pairs(&p4, c0, c1, c2, c3, input(next_rows.x + i));
                add_pairs(&p5, c0, c1, c2, c3, input(next_rows.y + i));
                add_pairs(&p6, c0, c1, c2, c3, input(next_rows.z + i));
                add_pairs(&p7, c0, c1, c2, c3, input(next_rows.w + i));
            }
            split_pairs(&s0, p0);
            split_pairs(&s1, p1);
            split_pairs(&s2, p2);
            split_pairs(&s3, p3);
            split_pairs(&s4, p4);
            split_pairs(&s5, p5);
            split_pairs(&s6, p6);
            split_pairs(&s7, p7);
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
