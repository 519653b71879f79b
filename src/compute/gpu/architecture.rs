//! Recognizes GPUs. The graphics API or the browser describes a GPU, and this module determines from the description
//! which vendor and which architecture the GPU has, and whether it is a software GPU.
//!
//! Descriptions are unreliable, so the order of the checks matters. Software and virtual GPUs are recognized first,
//! because both can report the IDs and the name of the hardware on which they run. Next, the device ID is looked up,
//! because only the ID distinguishes rebranded products. After that, the name is examined, and finally the fields that
//! only browsers report. If nothing in the description is known, the result is [`UNKNOWN`], never a guess.
//!
//! Only [`GpuKind::Software`] affects how a GPU is used. Vendor and architecture are for display and statistics.

/// The name that stands for a vendor or an architecture that could not be determined.
pub const UNKNOWN: &str = "unknown";

/// A GPU as described by the graphics API or the browser. A field that they do not report is empty or 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Description<'a> {
    /// Name of the GPU; in a browser, the field `GPUAdapterInfo.device`.
    pub name: &'a str,
    /// Vendor ID as registered for PCI or assigned by Khronos.
    pub vendor_id: u32,
    /// Device ID, which the vendor assigns to each of its GPU models.
    pub device_id: u32,
    /// Type of the device as named by wgpu: `DiscreteGpu`, `IntegratedGpu`, `VirtualGpu`, `Cpu` or `Other`.
    pub device_type: &'a str,
    /// Name of the graphics driver.
    pub driver: &'a str,
    /// More information about the driver, such as its version; in a browser, the field `GPUAdapterInfo.description`.
    pub driver_info: &'a str,
    /// The field `GPUAdapterInfo.vendor`, which only browsers report.
    pub webgpu_vendor: &'a str,
    /// The field `GPUAdapterInfo.architecture`, which only browsers report.
    pub webgpu_architecture: &'a str,
}

/// The kind of hardware on which the shaders of a GPU run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GpuKind {
    /// A physical GPU, used directly or through a driver such as Dozen, Zink or ANGLE, which translates between
    /// graphics APIs.
    Hardware,
    /// A virtual GPU, which a hypervisor, an emulator or a remote session provides.
    Virtual,
    /// The CPU. A software GPU, such as llvmpipe or WARP, runs the shaders on it.
    Software,
    /// Not determined, because the vendor is unknown.
    Unknown,
}

/// The vendor, the architecture and the kind of a GPU, as far as its description reveals them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Architecture {
    /// Name of the vendor, such as `NVIDIA` or `AMD`; [`UNKNOWN`] if it could not be determined.
    pub vendor: &'static str,
    /// Name of the architecture, such as `Ampere` or `RDNA2`; [`UNKNOWN`] if it could not be determined.
    pub architecture: &'static str,
    /// The kind of hardware on which the shaders run.
    pub kind: GpuKind,
}

/// Determines the vendor, the architecture and the kind of a GPU from its description.
pub fn classify(description: &Description) -> Architecture {
    let (vendor_id, device_id) = (description.vendor_id, description.device_id);
    let name = NameWords::new(description.name);
    let driver_info = NameWords::new(description.driver_info);
    let browser = NameWords::new(&format!("{} {}", description.webgpu_vendor, description.webgpu_architecture));
    let texts = [&name, &NameWords::new(description.driver), &driver_info, &browser];
    let in_texts = |kind| texts.into_iter().find_map(|text| by_name(kind, text));
    let as_kind =
        |kind| move |row: &TableRow| Architecture { vendor: row.vendor, architecture: row.architecture, kind };

    let row = by_id("software", vendor_id, device_id).or_else(|| in_texts("software"));
    if let Some(row) = row.or_else(|| by_name("software-name", &name)) {
        return as_kind(GpuKind::Software)(row);
    }
    if description.device_type == "Cpu" {
        return Architecture { vendor: "Software", architecture: UNKNOWN, kind: GpuKind::Software };
    }
    // The name is examined before the ID, because the names Venus and virgl are more specific than their common virtio
    // ID.
    let row = in_texts("virtual").or_else(|| by_id("virtual", vendor_id, device_id));
    if let Some(row) = row.or_else(|| by_name("virtual-name", &name)) {
        return as_kind(GpuKind::Virtual)(row);
    }

    let (named, identified) = (by_name("vendor", &name), by_id("vendor", 0, vendor_id));
    // Without a device ID, the vendor ID is a guess by the graphics API and less reliable than a known name.
    let vendor = if device_id == 0 { named.or(identified) } else { identified.or(named) };
    let Some(TableRow { vendor, .. }) = vendor.or_else(|| by_name("vendor", &browser)) else {
        return Architecture { vendor: UNKNOWN, architecture: UNKNOWN, kind: GpuKind::Unknown };
    };
    // Dawn can report the device ID in place of the name.
    let device_id = Some(device_id).filter(|id| *id != 0).or_else(|| hexadecimal(description.name.strip_prefix("0x")?));
    let of_vendor = || TABLE.iter().filter(|row| row.kind == "hardware" && row.vendor == *vendor);
    let row = device_id.and_then(|id| narrowest(of_vendor(), 0, id)).or_else(|| {
        let texts = [&name, &driver_info, &browser];
        texts.into_iter().find_map(|text| of_vendor().find(|row| text.contain(row.patterns)))
    });
    // A virtual GPU with a known architecture is a part of a hardware GPU, with only some of its cores.
    let is_slice = description.device_type == "VirtualGpu";
    let kind = if is_slice { GpuKind::Virtual } else { GpuKind::Hardware };
    Architecture { vendor, architecture: row.map_or(UNKNOWN, |row| row.architecture), kind }
}

/// A line of `architecture.tsv`, the table by which GPUs are recognized.
struct TableRow {
    kind: &'static str,
    vendor: &'static str,
    architecture: &'static str,
    ids: Vec<IdRun>,
    patterns: &'static str,
}

/// A range of IDs, `first..=last`. In a table row of the kind `vendor`, these are vendor IDs. In any other row, they
/// are device IDs of one vendor: of the vendor with the ID `vendor_id`, or of the row's vendor if `vendor_id` is 0.
struct IdRun {
    vendor_id: u32,
    first: u32,
    last: u32,
}

static TABLE: std::sync::LazyLock<Vec<TableRow>> = std::sync::LazyLock::new(|| {
    let lines = include_str!("architecture.tsv").lines().filter(|line| !line.starts_with('#'));
    let fields = lines.filter_map(|line| line.split('\t').collect::<Vec<_>>().try_into().ok());
    let row = |[kind, vendor, architecture, ids, patterns]: [&'static str; 5]| TableRow {
        kind,
        vendor,
        architecture,
        ids: ids.split(' ').filter_map(id_run).collect(),
        patterns,
    };
    fields.map(row).collect()
});

/// Parses a range of hexadecimal IDs: one ID (`10de`) or several (`06c0-06df`). A vendor ID in front limits the range
/// to one vendor's device IDs: one of them (`1414:008c`), several, or all (`15ad:any`). Returns `None` if the text has
/// none of these forms.
fn id_run(text: &str) -> Option<IdRun> {
    let (vendor_id, run) = text.split_once(':').unwrap_or(("0", text));
    let (first, last) = match run {
        "any" => (0, u32::MAX),
        _ => {
            let (first, last) = run.split_once('-').unwrap_or((run, run));
            (hexadecimal(first)?, hexadecimal(last)?)
        }
    };
    Some(IdRun { vendor_id: u32::from_str_radix(vendor_id, 16).ok()?, first, last })
}

/// Parses a hexadecimal number. Returns `None` for 0 and for text that is not such a number.
fn hexadecimal(text: &str) -> Option<u32> {
    u32::from_str_radix(text, 16).ok().filter(|id| *id != 0)
}

fn by_name(kind: &str, text: &NameWords) -> Option<&'static TableRow> {
    TABLE.iter().find(|row| row.kind == kind && text.contain(row.patterns))
}

fn by_id(kind: &str, vendor_id: u32, id: u32) -> Option<&'static TableRow> {
    narrowest(TABLE.iter().filter(|row| row.kind == kind), vendor_id, id)
}

/// Searches the rows of the table for an ID. Returns the row with a range of IDs that contains `id`. Only ranges whose
/// vendor is `vendor_id` are considered. If several of them contain `id`, the row with the smallest range is returned;
/// if no range contains it, `None` is returned.
fn narrowest<'a>(rows: impl Iterator<Item = &'a TableRow>, vendor_id: u32, id: u32) -> Option<&'a TableRow> {
    let runs = rows.flat_map(|row| row.ids.iter().map(move |run| (row, run)));
    let found = runs.filter(|(_, run)| run.vendor_id == vendor_id && (run.first..=run.last).contains(&id));
    found.min_by_key(|(_, run)| run.last - run.first).map(|(row, _)| row)
}

/// The words of a GPU's name in lower case, without trademark signs. A word consists of letters and digits; all other
/// characters separate words.
struct NameWords(Vec<String>);

/// The number of characters of a name that are examined, from the start. There is a limit because drivers can report
/// names of any length.
const MAX_NAME_CHARS: usize = 1024;

impl NameWords {
    fn new(name: &str) -> Self {
        let mut lower: String = name.chars().take(MAX_NAME_CHARS).flat_map(char::to_lowercase).collect();
        for sign in ["(tm)", "(r)", "(c)", "™", "®"] {
            lower = lower.replace(sign, " ");
        }
        Self(lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_owned).collect())
    }

    /// Returns whether the name contains consecutive words that match one of the patterns, which are separated by `|`.
    /// In a pattern, `#` matches a digit, `[...]` matches one of the listed characters (`a-z` is a range), and `*` at
    /// the end of a word matches the rest of the word.
    fn contain(&self, patterns: &str) -> bool {
        patterns.split('|').any(|pattern| {
            let wanted: Vec<&[u8]> = pattern.split_whitespace().map(str::as_bytes).collect();
            let here = |words: &[String]| words.iter().zip(&wanted).all(|(word, want)| fits(word.as_bytes(), want));
            !wanted.is_empty() && self.0.windows(wanted.len()).any(here)
        })
    }
}

fn fits(word: &[u8], pattern: &[u8]) -> bool {
    match pattern {
        [] => word.is_empty(),
        b"*" => true,
        [b'[', rest @ ..] => {
            let Some(end) = rest.iter().position(|c| *c == b']') else { return false };
            word.split_first().is_some_and(|(c, tail)| in_set(*c, &rest[..end]) && fits(tail, &rest[end + 1..]))
        }
        [want, rest @ ..] => {
            let same = |c: u8| c == *want || (*want == b'#' && c.is_ascii_digit());
            word.split_first().is_some_and(|(c, tail)| same(*c) && fits(tail, rest))
        }
    }
}

fn in_set(c: u8, set: &[u8]) -> bool {
    set.contains(&c) || set.windows(3).any(|range| range[1] == b'-' && (range[0]..=range[2]).contains(&c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_consecutive_words() {
        let words = NameWords::new("NVIDIA GeForce RTX(TM) 3070-Ti/PCIe");
        assert!(words.contain("rtx 30[5-9]0*"));
        assert!(words.contain("quadro | rtx 3070 ti"));
        assert!(!words.contain("rtx ti"));
        assert!(!words.contain("rtx 30[5-6]0*"));
        assert!(!words.contain("rtx 307"));
        assert!(!words.contain("rtx 3070#"));
        assert!(!words.contain("pcie sse2"));
        assert!(NameWords::new("a77 b").contain("a##"));
        assert!(!NameWords::new("").contain("a"));
    }

    #[test]
    fn every_line_of_the_table_is_well_formed() {
        let lines = include_str!("architecture.tsv").lines().filter(|line| !line.starts_with('#'));
        assert_eq!(lines.clone().count(), TABLE.len());
        for (line, row) in lines.zip(TABLE.iter()) {
            let ids = line.split('\t').nth(3).unwrap();
            assert!(ids == "-" || ids.split(' ').count() == row.ids.len(), "{line}");
            assert!(row.ids.iter().all(|run| run.first <= run.last), "{line}");
            for word in row.patterns.split('|').flat_map(str::split_whitespace) {
                let rest = word.strip_suffix('*').unwrap_or(word);
                let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "#[-]".contains(c);
                assert!(rest.chars().all(letters), "{line}");
                assert_eq!(rest.matches('[').count(), rest.matches(']').count(), "{line}");
            }
        }
    }
}
