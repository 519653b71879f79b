// One invocation computes four columns in RANKS rows of the gradient of a LoRA factor. (A row of this gradient is
// called a rank.) For one block of tokens after another, it computes the sums over the block and adds them to the
// gradient.

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let word = group.x * 64u + local.x;
    let column = word << 2u;
    if column >= width() {
        return;
    }
    // A row (rank) past the last one is replaced by the last one; `add_columns` drops the extra result.
    let r = vec4((group.y + params.first_group) * RANKS) + vec4(0u, 1u, 2u, 3u);
    let ranks = min(r, vec4(params.rank - 1u));
    for (var block = 0u; block < params.blocks; block++) {
        let span = vec2(spans[block * 2u], spans[block * 2u + 1u]);
        let at = (vec4(block * params.rank) + ranks) * 20u;
        var sums = Sums();
        for (var i = 0u; i < min(span.y, 32u); i += 4u) {
            sums = with_tokens(sums, span, i, word, at + vec4(i >> 2u));
        }
        add_ranks(block, r, column, sums);
    }
}
