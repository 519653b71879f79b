// One workgroup computes 32 columns in RANKS rows of the gradient of a LoRA factor. (A row of this gradient is called a
// rank.) It processes 16 blocks of tokens at a time. First, each invocation computes the sums over one block, for four
// columns of all RANKS rows. Then each invocation adds up the sums of the 16 blocks, in their order, for one column of
// one row.

@compute @workgroup_size(8, 16, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let word = group.x * 8u + local.x;
    // A row (rank) past the last one is replaced by the last one. The extra results are dropped: `accumulates` is false
    // for them.
    let first_rank = (group.y + params.first_group) * RANKS;
    let ranks = min(vec4(first_rank) + vec4(0u, 1u, 2u, 3u), vec4(params.rank - 1u));

    let sums_per_block = RANKS * 32u;
    let r = first_rank + (index >> 5u);
    let column = group.x * 32u + (index & 31u);
    let accumulates = index < sums_per_block && r < params.rank && column < width();
    let at = (r * width() + column) * 2u;
    var value = vec2(0u);
    if accumulates {
        value = vec2(gradient[at], gradient[at + 1u]);
    }
    var saturated = false;

    for (var start = 0u; start < params.blocks; start += 16u) {
        let block = start + local.y;
        var sums = Sums();
        if block < params.blocks && (word << 2u) < width() {
            let span = vec2(spans[block * 2u], spans[block * 2u + 1u]);
            let weights = (vec4(block * params.rank) + ranks) * 20u;
            for (var i = 0u; i < min(span.y, 32u); i += 4u) {
                sums = with_tokens(sums, span, i, word, weights + vec4(i >> 2u));
            }
        }
        stage_ranks(local.y * sums_per_block + (local.x << 2u), sums);
        workgroupBarrier();
        if accumulates {
            for (var i = 0u; i < min(params.blocks - start, 16u); i++) {
                let after = accumulate_64(value, staged_sum(i * sums_per_block + index), shift_of_block(start + i, r));
                value = after.value;
                saturated = saturated || after.saturated;
            }
        }
        workgroupBarrier();
    }
    if accumulates {
        gradient[at] = value.x;
        gradient[at + 1u] = value.y;
        if saturated {
            atomicMax(&flag, 1u);
        }
    }
}
