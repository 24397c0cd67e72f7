use super::*;
use proptest::prelude::*;

fn learn(text: &str) -> Result<(Schema, Labelled), TableError> {
    Schema::learn(text.as_bytes())
}

#[test]
fn numbers_words_and_nothing() {
    let (schema, data) = learn("id,a,colour,y\n1,2.5,red,0\n2,NA,blue,1\n3,-1e3,,1\n").unwrap();
    assert_eq!(schema.features(), ["a", "colour=blue", "colour=red"]);
    assert_eq!((data.labels.as_slice(), schema.positive.as_str()), (&[false, true, true][..], "1"));
    let values: Vec<String> = data.table.values.rows().into_iter().map(|row| format!("{row}")).collect();
    assert_eq!(values, ["[2.5, 0, 1]", "[NaN, 1, 0]", "[-1000, NaN, NaN]"]);
    assert_eq!(data.table.ids, ["1", "2", "3"]);
    // without a label, in another order, with a word that is new and a column that is not needed
    let table = schema.read("key,colour,more,a\nx,green,?,7\n".as_bytes()).unwrap();
    assert_eq!((table.id.as_str(), format!("{}", table.values)), ("key", "[[7, 0, 0]]".to_owned()));
}

#[test]
fn whose_where_and_when_are_no_features() {
    let text = "id,@group,a,@operator,@day,y\n1,p,2,op,2026-03-01,0\n2,,3,,,1\n3,p,4,op,2026-04-30,1\n";
    let (schema, data) = learn(text).unwrap();
    assert_eq!(schema.features(), ["a"]);
    let months = ["2026-03", "", "2026-04"].map(str::to_owned).to_vec();
    let operators = ["op", "", "op"].map(str::to_owned).to_vec();
    let wanted = Sides { groups: Some(vec![0, 1, 0]), operators: Some(operators), months: Some(months) };
    assert_eq!(data.sides, wanted);
    assert_eq!(learn("id,a,y\n1,2,0\n2,3,1\n").unwrap().1.sides, Sides::default());
    let wrong = learn("id,a,@day,y\n1,2,2026-03-01,0\n2,3,soon,1\n").unwrap_err();
    assert_eq!(wrong.to_string(), "row 2, column @day: not a day like 2026-03-01");
    assert_eq!(learn("id,@day,@group,y\n").unwrap_err(), TableError::TooFewColumns(4));
}

#[test]
fn which_label_scores_high() {
    let table = [
        ("0", "1", "1"),
        ("1", "0", "1"),
        ("10", "9", "10"),
        ("-1", "1", "1"),
        ("no", "yes", "yes"),
        ("yes", "no", "yes"),
        ("0.0", "1.0", "1.0"),
    ];
    for (a, b, positive) in table {
        let (schema, data) = learn(&format!("id,x,y\n1,1,{a}\n2,2,{b}\n3,3,{a}\n")).unwrap();
        assert_eq!(schema.positive, positive, "{a} and {b}");
        assert_eq!(data.labels, [a == positive, b == positive, a == positive]);
    }
    let (schema, _) = learn("id,x,y\n1,1,0\n2,2,1\n").unwrap();
    assert_eq!(schema.read_labelled("id,x,y\n1,1,1.0\n".as_bytes()).unwrap().labels, [true]);
}

#[test]
fn what_is_refused_and_where() {
    let words: String = (0..40).map(|i| format!("{i},w{i},{}\n", i % 2)).collect();
    let table = [
        ("".to_owned(), "the header has 0 columns: an id, features and, to learn from, a label are needed"),
        ("id,y\n1,0\n".to_owned(), "the header has 2 columns: an id, features and, to learn from, a label are needed"),
        ("id,x,x\n1,2,0\n".to_owned(), "the header names column x twice"),
        ("id,x,y\n".to_owned(), "column y: both labels are needed, there are only rows of None"),
        ("id,x,y\n1,2,1\n2,2,1\n".to_owned(), "column y: both labels are needed, there are only rows of Some(\"1\")"),
        ("id,x,y\n1,2,0\n2,2,\n".to_owned(), "row 2, column y: a label that is none of two values"),
        ("id,x,y\n1,2,0\n2,2,1\n3,1,2\n".to_owned(), "row 3, column y: a label that is none of two values"),
        ("id,x,y\n1,2,0\n2,inf,1\n".to_owned(), "row 2, column x: not a finite number"),
        (format!("id,x,y\n{words}"), "row 1, column x: not a number, and the column has more than 32 different words"),
    ];
    for (text, wanted) in table {
        assert_eq!(learn(&text).unwrap_err().to_string(), wanted);
    }
    let ragged = learn("id,x,y\n1,2,0\n2,1\n").unwrap_err();
    assert!(matches!(ragged, TableError::Malformed { row: 2, .. }), "{ragged}");
}

#[test]
fn what_is_refused_of_a_table_to_score() {
    let (schema, _) = learn("id,a,b,y\n1,1,1,0\n2,2,2,1\n").unwrap();
    let table = [
        ("id,a\n1,2\n", "the table has no column b"),
        ("id,a,b\n1,2,3\n2,x,3\n", "row 2, column a: not a finite number"),
        ("id,a,b\n1,2,1e999\n", "row 1, column b: not a finite number"),
    ];
    for (text, wanted) in table {
        assert_eq!(schema.read(text.as_bytes()).unwrap_err().to_string(), wanted);
    }
    let other = schema.read_labelled("id,a,b,y\n1,2,3,2\n".as_bytes()).unwrap_err();
    assert_eq!(other, TableError::Label { row: 1, column: "y".to_owned() });
    assert_eq!(schema.read("id,a,b\n".as_bytes()).unwrap().values.dim(), (0, 2));
}

#[test]
fn the_digest_is_of_the_bytes() {
    let (_, a) = learn("id,x,y\n1,2,0\n2,2,1\n").unwrap();
    let (_, b) = learn("id,x,y\n1,2,0\n2,2.0,1\n").unwrap();
    assert_eq!(a.table.values, b.table.values);
    assert_ne!(a.sha256, b.sha256);
    // sha256sum of the first
    assert_eq!(a.sha256, hexadecimal(digest(&SHA256, b"id,x,y\n1,2,0\n2,2,1\n").as_ref()));
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Schema::learn(bytes.as_slice());
    }

    #[test]
    fn no_table_panics(cells in proptest::collection::vec("[0-9a-z.,\"\n-]{0,12}", 0..60)) {
        let text = format!("id,a,b,y\n{}", cells.join(","));
        if let Ok((schema, data)) = Schema::learn(text.as_bytes()) {
            prop_assert_eq!(data.table.values.dim(), (data.labels.len(), schema.features().len()));
            prop_assert!(schema.read(text.as_bytes()).is_ok());
        }
    }
}
