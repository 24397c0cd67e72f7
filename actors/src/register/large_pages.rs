//! Did the system give the index the large pages it was asked for? Without them every lookup of a known person walks the
//! page table several times, and nothing else tells.

/// An index below this fits the processor's caches and tables well enough.
const WORTH_BYTES: u64 = 64 << 20;

/// Says so where an index of so many bytes lies mostly on small pages.
pub(super) fn check(index_bytes: usize) {
    let Ok(text) = std::fs::read_to_string("/proc/self/smaps_rollup") else { return };
    let (index, large) = (index_bytes as u64, bytes_on_large_pages(&text));
    if is_mostly_small(index, large) {
        tracing::warn!(
            index_bytes = index,
            large_page_bytes = large,
            "the index lies on small pages and lookups are slower for it: /sys/kernel/mm/transparent_hugepage/enabled must be madvise or always"
        );
    } else {
        tracing::info!(index_bytes = index, large_page_bytes = large, "pages of the index");
    }
}

fn is_mostly_small(index: u64, large: u64) -> bool {
    index >= WORTH_BYTES && large < index / 10 * 9
}

/// Of the whole process, as `/proc/self/smaps_rollup` tells them; 0 where it does not.
fn bytes_on_large_pages(text: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix("AnonHugePages:"));
    let kilobytes = line.and_then(|rest| rest.trim().strip_suffix(" kB")).and_then(|number| number.parse::<u64>().ok());
    kilobytes.unwrap_or(0) << 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_pages_are_read_and_judged() {
        let text = "55c0-7ffd ---p 00000000 00:00 0  [rollup]\nRss:  691896 kB\nAnonHugePages:    370688 kB\nShmemPmdMapped: 0 kB\n";
        assert_eq!(bytes_on_large_pages(text), 370_688 << 10);
        assert_eq!(bytes_on_large_pages(""), 0);
        let megabytes = |index: u64, large: u64| is_mostly_small(index << 20, large << 20);
        let table = [(450, 370, true), (450, 482, false), (450, 0, true), (63, 0, false), (64, 64, false)];
        for (index, large, small) in table {
            assert_eq!(megabytes(index, large), small, "{index} {large}");
        }
    }
}
