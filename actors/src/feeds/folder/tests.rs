//! Folders on a real disk.

use super::*;
use std::os::unix::fs::symlink;
use testkit::TempDir;

struct Bench {
    dir: TempDir,
    reader: FolderReader,
    cursor: Option<Cursor>,
    settings: FolderSettings,
}

impl Bench {
    fn new(change: impl FnOnce(&mut FolderSettings)) -> Self {
        let dir = testkit::temp_dir();
        std::fs::create_dir_all(dir.path().join("root/acme")).unwrap();
        let mut settings = FolderSettings {
            path: "acme".to_owned(),
            pattern: "*.ndjson".to_owned(),
            format: ReaderFormat::Ndjson,
            done: FolderDone::Keep,
            done_files: false,
        };
        change(&mut settings);
        let reader = Self::reader(&dir, &settings);
        Self { dir, reader, cursor: None, settings }
    }

    fn reader(dir: &TempDir, settings: &FolderSettings) -> FolderReader {
        let folder = Folder {
            root: dir.path().join("root"),
            settings: settings.clone(),
            quoting: true,
            seen: HashMap::new(),
            ready: VecDeque::new(),
            hashed: None,
        };
        FolderReader { folder: Some(folder), late: None, part_bytes: 24 }
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.dir.path().join("root/acme").join(name), text).unwrap();
    }

    fn names(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.path().join(folder)).unwrap();
        let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Forgets everything that is not in the cursor.
    fn restart(&mut self) {
        self.reader = Self::reader(&self.dir, &self.settings);
    }

    async fn fetch(&mut self) -> Result<Fetched, FetchError> {
        self.reader.fetch(self.cursor.as_ref(), &Progress::unwatched()).await
    }

    /// Fetches until nothing more is there now; what came, one text a fetch.
    async fn read(&mut self) -> Result<Vec<String>, FetchError> {
        let mut bodies = Vec::new();
        loop {
            let fetched = self.fetch().await?;
            if let Some(cursor) = fetched.cursor {
                bodies.push(String::from_utf8(fetched.body.to_vec()).unwrap());
                self.reader.stored(&cursor).await;
                self.cursor = Some(cursor);
            }
            if !fetched.more {
                return Ok(bodies);
            }
        }
    }

    async fn refusal(&mut self) -> String {
        self.read().await.unwrap_err().to_string()
    }
}

const NONE: [&str; 0] = [];

#[tokio::test]
async fn files_are_read_once_in_the_order_of_their_names_when_they_stand_still() {
    let mut bench = Bench::new(|_| {});
    assert_eq!(bench.read().await.unwrap(), NONE);
    bench.write("2.ndjson", "{\"b\":2}\n");
    bench.write("1.ndjson", "{\"a\":1}\n");
    bench.write("note.txt", "no");
    assert_eq!(bench.read().await.unwrap(), NONE, "seen once");
    bench.write("2.ndjson", "{\"b\":2}\n{\"b\":3}\n");
    assert_eq!(bench.read().await.unwrap(), ["{\"a\":1}\n"], "the other one grows still");
    assert_eq!(bench.read().await.unwrap(), ["{\"b\":2}\n{\"b\":3}\n"]);
    assert_eq!(bench.read().await.unwrap(), NONE);
    bench.restart();
    assert_eq!(bench.read().await.unwrap(), NONE);
    bench.write("3.ndjson", "");
    bench.write("4.ndjson", "{}");
    assert_eq!(bench.read().await.unwrap(), NONE);
    assert_eq!(bench.read().await.unwrap(), ["", "{}"], "an empty file is read, too");
}

#[tokio::test]
async fn what_was_read_and_not_stored_is_read_again() {
    let mut bench = Bench::new(|_| {});
    bench.write("1.ndjson", "{\"a\":1}\n");
    bench.write("2.ndjson", "{\"a\":2}\n");
    bench.fetch().await.unwrap();
    let first = bench.fetch().await.unwrap();
    let again = bench.fetch().await.unwrap();
    assert_eq!((&first.body[..], first.more), (&b"{\"a\":1}\n"[..], true));
    assert_eq!((first.body, first.cursor), (again.body, again.cursor));
    assert_eq!(bench.read().await.unwrap(), ["{\"a\":1}\n", "{\"a\":2}\n"]);
}

#[tokio::test]
async fn a_file_with_a_mark_is_complete_at_once_and_one_without_never() {
    let mut bench = Bench::new(|settings| settings.done_files = true);
    bench.write("1.ndjson", "{\"a\":1}\n");
    bench.write("2.ndjson", "{\"b\":2}\n");
    bench.write("2.ndjson.done", "");
    for _ in 0..3 {
        assert_eq!(bench.read().await.unwrap(), NONE, "the first one holds up the second");
    }
    bench.write("1.ndjson.done", "");
    assert_eq!(bench.read().await.unwrap(), ["{\"a\":1}\n", "{\"b\":2}\n"]);
}

#[tokio::test]
async fn a_large_file_is_read_in_parts_and_goes_on_after_a_restart() {
    let mut bench = Bench::new(|_| {});
    let lines: Vec<String> = (0..10).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    bench.write("1.ndjson", &lines.concat());
    bench.fetch().await.unwrap();
    let mut read = Vec::new();
    loop {
        let fetched = bench.fetch().await.unwrap();
        assert!(fetched.body.len() <= 24 && fetched.body.ends_with(b"\n"));
        read.extend_from_slice(&fetched.body);
        bench.cursor = fetched.cursor;
        if !fetched.more {
            break;
        }
        bench.restart();
    }
    assert_eq!(String::from_utf8(read).unwrap(), lines.concat());
}

#[tokio::test]
async fn every_part_of_a_csv_file_has_its_head_and_of_a_json_file_is_an_array() {
    let mut bench = Bench::new(|settings| (settings.format, settings.pattern) = (ReaderFormat::Csv, "*".to_owned()));
    bench.write("1", "id,text\n1,\"a\nb\"\n2,ccccc\n3,d\n");
    bench.fetch().await.unwrap();
    assert_eq!(bench.read().await.unwrap(), ["id,text\n1,\"a\nb\"\n2,ccccc\n", "id,text\n3,d\n"]);
    let mut bench = Bench::new(|settings| (settings.format, settings.pattern) = (ReaderFormat::Json, "*".to_owned()));
    bench.write("1", "[{\"n\":1}, {\"n\":2},\n{\"n\":3}, {\"n\":4}]");
    bench.fetch().await.unwrap();
    assert_eq!(bench.read().await.unwrap(), ["[{\"n\":1}, {\"n\":2}]", "[\n{\"n\":3}, {\"n\":4}]"]);
}

#[tokio::test]
async fn a_record_that_is_larger_than_a_part_is_an_error() {
    let mut bench = Bench::new(|_| {});
    bench.write("1.ndjson", &format!("{{\"a\":\"{}\"}}\n", "x".repeat(30)));
    bench.fetch().await.unwrap();
    assert!(matches!(bench.read().await, Err(FetchError::TooLarge)));
}

#[tokio::test]
async fn a_file_that_changes_after_it_was_read_is_an_error_that_stays() {
    let mut bench = Bench::new(|_| {});
    bench.write("1.ndjson", "{\"a\":1}\n");
    bench.fetch().await.unwrap();
    assert_eq!(bench.read().await.unwrap().len(), 1);
    bench.write("1.ndjson", "{\"a\":1}\n{\"a\":2}\n");
    for _ in 0..2 {
        assert!(bench.refusal().await.contains("1.ndjson: it has changed"));
    }
    // and in the middle: the part that was read is another one
    let mut bench = Bench::new(|_| {});
    bench.write("1.ndjson", "{\"a\":\"1234567\"}\n{\"a\":\"1234567\"}\n");
    bench.fetch().await.unwrap();
    bench.cursor = bench.fetch().await.unwrap().cursor;
    bench.write("1.ndjson", "{\"a\":\"7654321\"}\n{\"a\":\"1234567\"}\n");
    bench.restart();
    assert!(bench.refusal().await.contains("1.ndjson: it has changed"));
}

#[tokio::test]
async fn a_file_that_is_gone_before_it_was_read_to_its_end_is_lost() {
    let mut bench = Bench::new(|_| {});
    bench.write("1.ndjson", "{\"a\":\"1234567\"}\n{\"a\":\"1234567\"}\n");
    bench.fetch().await.unwrap();
    bench.cursor = bench.fetch().await.unwrap().cursor;
    std::fs::remove_file(bench.dir.path().join("root/acme/1.ndjson")).unwrap();
    assert!(matches!(bench.read().await, Err(FetchError::Lost(_))));
}

#[tokio::test]
async fn a_name_that_sorts_before_what_was_read_is_not_passed_over_in_silence() {
    for done in [FolderDone::Keep, FolderDone::Move] {
        let mut bench = Bench::new(|settings| settings.done = done);
        bench.write("2.ndjson", "{\"a\":1}\n");
        bench.fetch().await.unwrap();
        assert_eq!(bench.read().await.unwrap().len(), 1);
        bench.write("1.ndjson", "{\"a\":0}\n");
        assert!(bench.refusal().await.contains("a file came late"), "{done:?}");
        std::fs::rename(bench.dir.path().join("root/acme/1.ndjson"), bench.dir.path().join("root/acme/3.ndjson"))
            .unwrap();
        assert_eq!(bench.read().await.unwrap(), NONE);
        assert_eq!(bench.read().await.unwrap(), ["{\"a\":0}\n"]);
    }
}

#[tokio::test]
async fn what_was_read_is_moved_once_it_is_stored_also_after_a_crash_in_between() {
    let mut bench = Bench::new(|settings| settings.done = FolderDone::Move);
    bench.write("1.ndjson", "{\"a\":1}\n");
    bench.write("2.ndjson", "{\"a\":2}\n");
    bench.fetch().await.unwrap();
    bench.cursor = bench.fetch().await.unwrap().cursor;
    assert_eq!(bench.names("root/acme"), ["1.ndjson", "2.ndjson"], "stored, and the process died");
    bench.restart();
    assert_eq!(bench.read().await.unwrap(), NONE, "a first look at the second one");
    assert_eq!(bench.names("root/acme"), ["2.ndjson", "done"]);
    assert_eq!(bench.read().await.unwrap(), ["{\"a\":2}\n"]);
    assert_eq!(
        (bench.names("root/acme"), bench.names("root/acme/done")),
        (vec!["done".to_owned()], vec!["1.ndjson".to_owned(), "2.ndjson".to_owned()])
    );
}

#[tokio::test]
async fn links_lead_nowhere() {
    let mut bench = Bench::new(|_| {});
    std::fs::write(bench.dir.path().join("secret.ndjson"), "{\"secret\":1}\n").unwrap();
    symlink(bench.dir.path().join("secret.ndjson"), bench.dir.path().join("root/acme/1.ndjson")).unwrap();
    assert_eq!((bench.read().await.unwrap(), bench.read().await.unwrap()), (vec![], vec![]), "a link is no file");
    // a file that becomes a link between look and reading
    bench.write("2.ndjson", "{\"a\":1}\n");
    bench.fetch().await.unwrap();
    std::fs::remove_file(bench.dir.path().join("root/acme/2.ndjson")).unwrap();
    bench.reader.folder.as_mut().unwrap().ready.push_back(("2.ndjson".to_owned(), 1));
    symlink(bench.dir.path().join("secret.ndjson"), bench.dir.path().join("root/acme/2.ndjson")).unwrap();
    assert!(bench.refusal().await.contains("a link, or no file"));
    // and a folder that is one
    symlink(bench.dir.path(), bench.dir.path().join("root/out")).unwrap();
    bench.settings.path = "out".to_owned();
    bench.restart();
    assert!(bench.refusal().await.contains("its path is a link"));
    bench.settings.path = "../".to_owned();
    bench.restart();
    assert!(bench.refusal().await.contains("not below the root"));
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_an_error_and_no_empty_one() {
    let mut bench = Bench::new(|settings| settings.path = "beta".to_owned());
    assert!(matches!(bench.read().await, Err(FetchError::Unreachable(_))));
}
