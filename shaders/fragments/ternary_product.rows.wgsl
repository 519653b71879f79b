// Rows of a ternary product: where the inputs of four tokens start, and how 16 sums of a token are written.

// The words at which the inputs of tokens t..t + 4 start; beyond the last token, the start of the last token.
fn input_rows(t: u32) -> vec4<u32> {
    let tokens = min(vec4<u32>(t) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.tokens - 1u));
    return tokens * (planes() * row_words(places()));
}

// Writes a token's 16 sums of codes as sums of trits. Component c of field j (a, b, c, d) is feature f + 4c + j.
fn store(t: u32, f: u32, sums: BlockSums) {
    if t < params.tokens {
        let row = result_at(t);
        let offset = input_sum(t);
        store_part(row, f, sums.a - offset);
        store_part(row, f + 1u, sums.b - offset);
        store_part(row, f + 2u, sums.c - offset);
        store_part(row, f + 3u, sums.d - offset);
    }
}

fn store_part(row: u32, f: u32, part: vec4<i32>) {
    if f < features() {
        out[row + f] = part.x;
    }
    if f + 4u < features() {
        out[row + f + 4u] = part.y;
    }
    if f + 8u < features() {
        out[row + f + 8u] = part.z;
    }
    if f + 12u < features() {
        out[row + f + 12u] = part.w;
    }
}
