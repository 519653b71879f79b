// Block words of ternary matrices (see src/numbers/ternary.rs), and products of bytes with their codes 0..=2.

// The number of words of a byte row, whose width is padded to a multiple of 32.
fn row_words(width: u32) -> u32 {
    return ((width + 31u) >> 5u) << 3u;
}

// The transpose of a 4×4 block of 2-bit codes, by two delta swaps.
fn transpose_block(word: u32) -> u32 {
    var swap = ((word >> 6u) ^ word) & 0x00CC00CCu;
    let half = word ^ swap ^ (swap << 6u);
    swap = ((half >> 12u) ^ half) & 0x0000F0F0u;
    return half ^ swap ^ (swap << 12u);
}

fn transpose_blocks(words: vec4<u32>) -> vec4<u32> {
    return vec4<u32>(
        transpose_block(words.x), transpose_block(words.y), transpose_block(words.z), transpose_block(words.w),
    );
}

// The inner products of four features with the same four bytes.
fn code_dots(codes: vec4<u32>, bytes: u32) -> vec4<i32> {
    return vec4<i32>(
        dot4I8Packed(codes.x, bytes), dot4I8Packed(codes.y, bytes),
        dot4I8Packed(codes.z, bytes), dot4I8Packed(codes.w, bytes),
    );
}

// The sums of the 16 features of four blocks, for one token: component c of field j (a, b, c, d) belongs to feature 4c
// + j.
struct BlockSums {
    a: vec4<i32>,
    b: vec4<i32>,
    c: vec4<i32>,
    d: vec4<i32>,
}

// The codes of 16 features, four places to a word, in the order of BlockSums.
struct BlockCodes {
    a: vec4<u32>,
    b: vec4<u32>,
    c: vec4<u32>,
    d: vec4<u32>,
}

// The codes of four blocks, whose words have the form that by_places returns.
fn blocks_codes(words: vec4<u32>) -> BlockCodes {
    let mask = vec4<u32>(0x03030303u);
    return BlockCodes(
        words & mask, (words >> vec4<u32>(2u)) & mask, (words >> vec4<u32>(4u)) & mask, (words >> vec4<u32>(6u)) & mask,
    );
}

// Adds the products of four int8 values and their codes to the sums.
fn add_dots(sums: ptr<function, BlockSums>, codes: BlockCodes, bytes: u32) {
    (*sums).a += code_dots(codes.a, bytes);
    (*sums).b += code_dots(codes.b, bytes);
    (*sums).c += code_dots(codes.c, bytes);
    (*sums).d += code_dots(codes.d, bytes);
}

// Multiplies the sums by 256 before the next plane is added. Sums of codes may wrap, but the final sums of trits do
// not.
fn next_plane(sums: ptr<function, BlockSums>) {
    *sums = BlockSums((*sums).a * 256, (*sums).b * 256, (*sums).c * 256, (*sums).d * 256);
}
