"""Tables, texts and pictures become arrays and come back; what cannot be used is refused in one sentence."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from collapse_utils.practice import frames, sources

N = 40


def table(**columns):
    """Forty rows with a number, a category and what is given; None leaves a column out."""
    rng = np.random.default_rng(0)
    made = {"x": rng.standard_normal(N), "colour": np.resize(["red", "teal"], N)} | columns
    return pd.DataFrame({name: values for name, values in made.items() if values is not None})


def once(value, rest):
    return [value, *np.resize(rest, N - 1).tolist()]


@pytest.mark.parametrize("name", sources.EMBEDDED)
def test_what_scikit_learn_carries_comes_back_as_it_went_in(name):
    frame = sources.read(name)
    back = frames.decode(frame.rows, frame.columns)
    assert (frames.encode(back[back.columns[::-1]], frame.columns) == frame.rows).all()
    assert not frame.rows.flags.writeable
    assert frame.sha256 == sources.read(name).sha256


def test_a_table_of_every_kind_survives_csv_and_parquet(tmp_path):
    made = table(count=np.arange(N), flag=np.resize([True, False, False], N), size=pd.Categorical(np.resize(["s", "m", "l"], N)))
    made.to_csv(tmp_path / "t.csv", index=False)
    made.to_parquet(tmp_path / "t.parquet", index=False)
    one, other = sources.read(tmp_path / "t.csv"), sources.read(tmp_path / "t.parquet")
    assert (one.rows == other.rows).all()
    assert one.columns == other.columns
    assert one.columns.kinds == ("number", "category", "number", "category", "category")
    assert one.columns.categories[3] == (False, True)
    back = frames.decode(one.rows, one.columns)
    assert back["flag"].tolist() == made["flag"].tolist()
    assert (frames.encode(back, one.columns) == one.rows).all()


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (table().iloc[:0], "must hold rows and columns; got 0 rows of 2 columns"),
        (table().iloc[:1], "at least 20 rows, half of them to learn from; got 1"),
        (table().iloc[:19], "at least 20 rows, half of them to learn from; got 19"),
        (table(age=np.full(N, 3.5)), r"column age must vary; got 3\.5 in all 40 rows; leave it out"),
        (table(age=np.full(N, np.nan)), "column age must hold values; all 40 are missing"),
        (table(age=once(7, ["n/a"])), "column age must hold numbers or text; got both, 7 and 'n/a'"),
        (table(colour=once("mauve", ["red", "teal"])), "column colour has the category 'mauve' once.*merge it with another"),
        (table().set_axis(["x", "x"], axis=1), "column x must stand there once; got 2 of that name; rename one"),
        (table(age=once(np.nan, [1.0, 2.0])), r"1 missing values in 1 columns, most in column age \(1\); say drop or fill for missing"),
        (table().set_axis(["", "colour"], axis=1), "column 1 must have a name; got ''; give it one, or, if it numbers the rows"),
        (table(age=2**62 + np.arange(N)), "column age must keep its differences as float64; got .*; subtract its least value"),
        (table(age=2**53 + np.arange(N)), "column age must keep its differences as float64; got 9007199254740992 to"),
        (table(age=1e300 * np.arange(N)), "column age must keep its differences as float64; got 0.0 to 3.9e.301"),
        (table(age=1e-300 * np.arange(N)), "column age must keep its differences as float64"),
        (table(age=once("?", list(map(str, range(30, 60))))), "column age must hold numbers or text; got both, '.*' and '.'; write numbers, and leave"),
        (table(age=once(np.inf, [1.0, 2.0])), "column age must be finite; got inf in row 0"),
        (pd.DataFrame(np.eye(N, 10_000)), "at most 1,000 columns; got 10,000, from 0 on"),
        (table(born=pd.date_range("2020-01-01", periods=N)), "column born holds dates .2020-01-01 00:00:00.; turn them into numbers"),
        (table(born=pd.date_range("2020-01-01", periods=N).strftime("%d/%m/%Y")), "column born holds dates .01/01/2020."),
        (table(born=pd.date_range("2020-01-01", periods=N).date), "column born holds dates .2020-01-01."),
        (table(name=[f"n{i}" for i in range(N)]), "column name has the category 'n.*' once"),
        (
            pd.concat([table(name=[f"n{i}" for i in range(60)][:N])] * 2 + [table(name=[f"n{i + 20}" for i in range(N)])] * 2),
            "column name must have at most 50 categories; got 60.*group them, or leave it out",
        ),
    ],
)  # fmt: skip
def test_bad_tables_are_refused_with_column_and_value(made, said):
    with pytest.raises(ValueError, match=said):
        frames.of(made, "made")


def test_what_is_done_with_missing_values_is_said():
    made = table(age=once(np.nan, [1.0, 2.0, 6.0]), size=once(None, ["s", "m", "m"]))
    made.loc[1, "size"] = None
    dropped, filled = (frames.of(made, "made", policy) for policy in ("drop", "fill"))
    assert len(dropped.rows) == N - 2
    assert dropped.notes == ("3 missing values in 2 columns: 2 of 40 rows were left out",)
    assert len(filled.rows) == N
    assert filled.rows[0, 2] == 2.0
    assert frames.MISSING in filled.columns.categories[3]
    assert "numbers got the column's median" in filled.notes[0]
    with pytest.raises(ValueError, match="missing must be refuse, drop or fill; got 'zero'"):
        frames.of(made, "made", "zero")


def test_an_index_that_has_a_name_is_said_to_be_left_out(tmp_path):
    table().rename_axis("person").to_parquet(tmp_path / "t.parquet")
    frame = sources.read(tmp_path / "t.parquet")
    assert frame.columns.names == ("x", "colour")
    assert frame.notes == ("the index person is no column and was left out",)
    assert frames.of(table(), "made").notes == ()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.csv", b"", "t.csv must hold a table; got an empty file"),
        ("t.csv", b"x,x\n" + b"1,2\n3,4\n" * 20, "column x must stand there once; got 2 of that name"),
        ("t.csv", b"x;y\n" + b"1.5;2\n3;4\n" * 20, "t.csv must have commas between its columns; got ';' in its first line"),
        ("t.csv", b"x\ty\n" + b"1\t2\n3\t4\n" * 20, r"got '\\t' in its first line; save it with commas"),
        (
            "t.csv",
            b"x;y\n" + b"1,5;2\n3,5;4\n" * 20,
            "t.csv must have a name for each cell of a row; got more cells than the 1 names",
        ),
        ("t.csv", b",x\n" + b"0,2\n1,4\n" * 20, "column 1 must have a name"),
        ("t.csv", b"x,y\n1,2\n1,2,3,4\n", "t.csv must hold a table; it cannot be read as one"),
        ("t.csv", bytes(range(128, 256)), "t.csv must be text in UTF-8; got the byte 0x80; save it as UTF-8"),
        ("t.csv", b"x,y\n" + b"1,a\n2,\xe9\n" * 20, "t.csv must be text in UTF-8; got the byte 0xe9; save it as UTF-8"),
        ("t.parquet", b"no parquet", "t.parquet must hold a table; it cannot be read as one"),
        ("t.xlsx", b"x", r"must be a \.csv, \.parquet or \.txt file; got t.xlsx; save it as one of them"),
        ("t.txt", b"short", "t.txt must have at least 320 characters; got 5"),
        ("t.txt", b"a" * 400, "must have characters that differ; got 'a' alone"),
        ("t.txt", b"\xff" * 400, "t.txt must be text in UTF-8; got the byte 0xff"),
    ],
)
def test_files_that_are_no_table_are_refused(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=said):
        sources.read(tmp_path / name)


@pytest.mark.parametrize("content", ["\ufeffx,y\n{}", "x, y\n{}", " x,y \n{}", 'x,"y"\n{}', "x,y\r\n{}"])
def test_names_are_those_that_one_reads(tmp_path, content):
    """Also behind the mark that spreadsheets put before a text, between blanks, and in a name that is written in capitals."""
    (tmp_path / "T.CSV").write_bytes(content.format("1,2\n3,4\n" * 20).encode())
    assert sources.read(tmp_path / "T.CSV").columns.names == ("x", "y")


def test_a_file_that_is_not_there_is_refused_with_what_there_is():
    with pytest.raises(ValueError, match="one of breast_cancer, diabetes.*; got 'cancer', which is not there"):
        sources.read("cancer")


def test_a_text_is_rows_of_characters(tmp_path):
    (tmp_path / "t.txt").write_text("the cat sat on the mat, q\n" * 40, encoding="utf-8")
    frame = sources.read(tmp_path / "t.txt")
    assert set(frame.columns.kinds) == {"category"}
    said = "".join(frames.decode(frame.rows, frame.columns).to_numpy().ravel())
    assert said.startswith("the cat sat on the mat, q the cat")
    (tmp_path / "t.txt").write_text("zz" * 8 + "the cat sat on the mat\n" * 40, encoding="utf-8")
    assert "0 kinds that occur fewer than 10 times" in sources.read(tmp_path / "t.txt").notes[0]
    (tmp_path / "t.txt").write_text("the cat sat on the mat\n" * 20 + "z" + "the cat sat on the mat\n" * 20, encoding="utf-8")
    rare = sources.read(tmp_path / "t.txt")
    assert "1 kinds that occur fewer than 10 times" in rare.notes[0]
    assert sources.OTHER in rare.columns.categories[0]


def test_pictures_are_rows_of_grey(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(20):
        grey = rng.integers(0, 256, (24, 24), dtype=np.uint8)
        grey[:4] = 0
        Image.fromarray(grey).save(tmp_path / f"{i:02d}.png")
    frame = sources.read(tmp_path)
    assert frame.rows.min() >= 0
    assert frame.rows.max() <= 1
    assert "pixels that hardly vary were left out" in frame.notes[0]
    assert len(frame.columns.names) < 144
    (tmp_path / "00.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match="00.png must be a picture; it cannot be read as one"):
        sources.read(tmp_path)
    (tmp_path / "00.png").unlink()
    with pytest.raises(ValueError, match="must hold at least 20 pictures .*; got 19"):
        sources.read(tmp_path)
    for path in tmp_path.iterdir():
        Image.fromarray(np.zeros((24, 24), np.uint8)).save(path)
    Image.fromarray(np.zeros((24, 24), np.uint8)).save(tmp_path / "00.png")
    with pytest.raises(ValueError, match="the 20 pictures of .* must differ"):
        sources.read(tmp_path)
