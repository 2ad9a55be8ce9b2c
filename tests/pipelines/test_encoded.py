"""Training and test views of encoded images, whose geometry is read off ramps of colour."""

import io
import os

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from resnet_keras import errors, pipelines
from resnet_keras.errors import InputError
from resnet_keras.pipelines import encoded, folder, stream

PLAIN = pipelines.View(image_size=48, scales=(64, 120), pca_noise=0.0)


def file_of(image, kind="PNG", **options):
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind, **options)
    return file.getvalue()


def ramps(height, width, step=1.0):
    """An image whose red is the column and whose green is the row, times `step`."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([columns * step, rows * step, 0 * rows], axis=2).round().astype("uint8")


def source(root, contents, labels=None, classes=100):
    """A source of files with these bytes, by default labelled by their numbers."""
    paths = []
    for number, data in enumerate(contents):
        (root / f"{number:03}.jpg").write_bytes(data)
        paths.append(str(root / f"{number:03}.jpg"))
    labels = range(len(paths)) if labels is None else labels
    return folder.from_files(paths, list(labels), tuple(map(str, range(classes))))


def batches(opened, count, batch=16, *, seed=0, view=PLAIN, start=0, **options):
    made = encoded.training(opened, stream.Chunks(batch, start), seed=seed, view=view, **options)
    return list(stream.prefetch(made.take(count)).as_numpy_iterator())


def windows(crops, step=1.0):
    """Reads the windows int (n, 5), top, left, height, width, mirrored, off crops of `ramps`."""
    across = crops[..., 0].astype(float).mean(1) / step
    mirrored = across[:, 0] > across[:, -1]
    left, width = segments(np.where(mirrored[:, None], across[:, ::-1], across), step)
    top, height = segments(crops[..., 1].astype(float).mean(2) / step, step)
    return np.stack([top, left, height, width, mirrored], axis=1).astype(int)


def segments(rows, step):
    """Start and length, in whole pixels, of what was stretched to each row (n, size) of a ramp."""
    size = rows.shape[1]
    columns = np.arange(size)
    inside = columns[size // 4 : -size // 4]
    slope, intercept = np.polyfit(inside, rows[:, inside].T, 1)
    about = np.round(np.stack([intercept + 0.5 - 0.5 * slope, slope * size])).astype(int)
    near = np.stack(np.meshgrid(range(-2, 3), range(-2, 3))).reshape(2, 25)
    starts, lengths = about[:, :, None] + near[:, None]  # (n, 25)
    first, last = starts[..., None], (starts + lengths)[..., None] - 1
    expected = first + (columns + 0.5) * lengths[..., None] / size - 0.5
    levels = np.clip(expected, first, last) * step
    # No more than half a level is rounded off; where windows of 3 lengths fit so, rounding decides.
    fits = abs(levels - step * rows[:, None]).max(2) < 0.501
    wrong = (np.floor(levels + 0.5) != np.round(step * rows[:, None])).sum(2)
    best = np.where(fits, wrong, size + 1).argmin(1)[:, None]
    assert np.take_along_axis(fits, best, 1).all()
    return [np.take_along_axis(values, best, 1)[:, 0] for values in (starts, lengths)]


@pytest.fixture(scope="module")
def crops(tmp_path_factory):
    """1,600 windows of images of 150 x 200 pixels, at scales 64 to 120."""
    root = tmp_path_factory.mktemp("ramps")
    opened = source(root, [file_of(ramps(150, 200))] * 16)
    found = batches(opened, 4, 400)
    return windows(np.concatenate([images for images, _ in found]))


def uniform_from(values, low, high):
    """Whether the numbers are spread as uniform ones are (Kolmogorov and Smirnov, at 0.1 %)."""
    place = (np.sort(values) - low) / (high - low)
    distance = abs(place - (np.arange(len(place)) + 0.5) / len(place)).max()
    return distance < 1.95 / len(place) ** 0.5


def test_crops_are_windows_of_whole_pixels_and_keep_the_aspect_ratio(crops):
    np.testing.assert_array_equal(crops[:, 2], crops[:, 3])


def test_scales_cover_their_range_uniformly(crops):
    """A crop of 48 pixels at scale s is a window of 48 * 150 / s pixels."""
    sides = np.random.default_rng(0).integers(64, 121, 10**5)
    expected = np.round(48 * 150 / sides)
    # Stretched to 48 pixels, windows of 95, 96 and 97 look alike.
    found, expected = (np.where(abs(x - 96) == 1, 96, x) for x in (crops[:, 2], expected))
    assert set(found) == set(expected)
    for side in range(60, 113, 4):  # shares of smaller windows, to four standard errors
        share = (expected <= side).mean()
        error = (share * (1 - share) / len(crops)) ** 0.5
        assert abs((found <= side).mean() - share) < 4 * error + 0.005


def test_positions_cover_the_image_uniformly_and_reach_its_borders(crops):
    for start, side, length in ((0, 2, 150), (1, 3, 200)):
        room, place = length - crops[:, side], crops[:, start]
        assert place.min() == 0
        assert (place <= room).all()
        assert (place == room).any()
        assert uniform_from((place + 0.5) / (room + 1), 0, 1)


def test_draws_of_a_crop_are_independent(crops):
    room = np.array([150, 200]) - crops[:, 2:4]
    drawn = np.column_stack([crops[:, :2] / room, crops[:, 2], crops[:, 4]])
    assert abs(np.corrcoef(drawn.T) - np.eye(4)).max() < 0.1


def test_half_of_the_crops_are_mirrored(crops):
    assert abs(crops[:, 4].mean() - 0.5) < 0.05


def test_areas_and_ratios_cover_their_range(tmp_path):
    """A share from 0.2 to 1 of the area, at ratios from 3/4 to 4/3."""
    opened = source(tmp_path, [file_of(ramps(150, 200))] * 16)
    ((images, _),) = batches(opened, 1, 1600, view=PLAIN._replace(min_area=0.2))
    top, left, height, width, _ = windows(images).T
    assert (np.stack([top, left, 150 - top - height, 200 - left - width]) >= 0).all()
    area, ratio = height * width / (150 * 200), width / height
    assert 0.19 < area.min() < 0.22
    assert area.max() > 0.9
    assert 0.73 < ratio.min() < 0.77
    assert 1.3 < ratio.max() < 1.36
    small = area < 0.5  # such windows nearly always fit
    assert uniform_from(area[small], 0.2, 0.5)
    assert uniform_from(np.log(ratio[area < 0.45]), np.log(3 / 4), np.log(4 / 3))


def test_no_window_fits_an_extreme_image_but_a_square(tmp_path):
    opened = source(tmp_path, [file_of(ramps(*shape)) for shape in ((20, 200), (200, 20))])
    ((images, labels),) = batches(opened, 1, 320, view=PLAIN._replace(min_area=0.5))
    top, left, height, width, _ = windows(images).T
    assert set(height) == set(width) == {20}
    for along, across in ((left, top), (top, left)):
        wide = labels == (along is top)
        assert wide.sum() > 100
        assert set(across[wide]) == {0}
        assert along[wide].min() < 15
        assert along[wide].max() > 165


def test_images_smaller_than_the_crop_are_enlarged(tmp_path):
    """The 12 x 18 pixels lie 14 levels apart."""
    opened = source(tmp_path, [file_of(ramps(12, 18, 14))] * 16)
    ((images, _),) = batches(opened, 1, 160)
    top, left, height, width, _ = windows(images, 14).T
    assert set(height) == {5, 6, 7, 8, 9}  # 48 * 12 / 120 = 4.8 to 48 * 12 / 64 = 9
    np.testing.assert_array_equal(height, width)
    assert set(top + height) >= {6, 12}
    assert (left + width).max() == 18


@pytest.mark.parametrize("min_area", [0.0, 0.5])
def test_an_image_may_be_one_pixel_or_a_line(tmp_path, min_area):
    shapes = ((1, 1, 3), (1, 999, 3), (999, 1, 3))
    opened = source(tmp_path, [file_of(np.full(shape, (5, 60, 200), "uint8")) for shape in shapes])
    ((images, _),) = batches(opened, 1, view=PLAIN._replace(min_area=min_area))
    assert (images == (5, 60, 200)).all()


def test_the_whole_image_can_be_the_crop_and_none_be_mirrored(tmp_path):
    square = np.random.default_rng(0).integers(0, 256, (48, 48, 3), "uint8")
    view = pipelines.View(image_size=48, scales=(48, 48), pca_noise=0.0, flip=False)
    ((images, _),) = batches(source(tmp_path, [file_of(square)] * 3), 1, view=view)
    np.testing.assert_array_equal(images, [square] * 16)


def test_png_and_jpeg_of_an_image_give_the_same_view(tmp_path):
    """The larger image is shrunk by 4 or 8 as a JPEG, by which up to 8 pixels are cut off."""
    pictures = [ramps(150, 150)] * 8 + [ramps(800, 800, 0.3)] * 8
    views = []
    for kind, options in (("PNG", {}), ("JPEG", {"quality": 100, "subsampling": 0})):
        opened = source(tmp_path, [file_of(image, kind, **options) for image in pictures])
        ((images, labels),) = batches(opened, 1)
        views.append(images.astype(int))
    difference = abs(views[0] - views[1])
    assert difference[labels < 8].max() <= 3
    assert difference[labels >= 8].max() <= 5
    assert difference.mean() < 1.2


PHOTOGRAPHIC = pipelines.View(image_size=32, scales=(36, 60), colour_jitter=0.4)


def photographic(photographs, count, batch, **options):
    made = pipelines.training(
        "folder", "train", batch, seed=3, data_dir=photographs, view=PHOTOGRAPHIC, **options
    )
    return list(made.take(count).as_numpy_iterator())


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.fixture(scope="module")
def reached(photographs):
    """Batches of 32, of 48 photographs."""
    return photographic(photographs, 8, 32)


def test_batches_from_a_later_step_are_byte_identical(photographs, reached):
    assert_same(*photographic(photographs, 1, 32, start_step=7), reached[7])


@pytest.mark.parametrize(("batch", "step"), [pytest.param(10, 7, marks=pytest.mark.slow), (48, 3)])
def test_batches_of_any_size_cut_the_same_stream(photographs, reached, batch, step):
    """Batch size 10 begins within chunks of 16."""
    ((images, labels),) = photographic(photographs, 1, batch, start_step=step)
    part = slice(batch * step, batch * (step + 1))
    np.testing.assert_array_equal(images, np.concatenate([x for x, _ in reached])[part])
    np.testing.assert_array_equal(labels, np.concatenate([y for _, y in reached])[part])


def test_batches_do_not_depend_on_threads(photographs, reached):
    found = photographic(photographs, 4, 32, threads=1)
    for one, expected in zip(found, reached, strict=False):
        assert_same(one, expected)


def test_shards_are_the_parts_of_a_batch(photographs, reached):
    shares = [photographic(photographs, 4, 32, shard=(index, 2)) for index in range(2)]
    for *parts, expected in zip(*shares, reached, strict=False):
        assert [len(labels) for _, labels in parts] == [16, 16]
        assert_same([np.concatenate(pair) for pair in zip(*parts, strict=True)], expected)


def test_batches_are_uint8_images_and_int32_labels(reached):
    for images, labels in reached:
        assert (images.shape, images.dtype) == ((32, 32, 32, 3), np.uint8)
        assert (labels.shape, labels.dtype) == ((32,), np.int32)


def test_each_epoch_has_every_label_and_other_views(reached):
    views = [view.tobytes() for images, _ in reached for view in images]
    labels = np.concatenate([labels for _, labels in reached])
    assert [epoch.sum() for epoch in labels[:240].reshape(5, 48)] == [24] * 5
    assert len(set(views)) == len(views) == 256


@pytest.mark.slow
def test_another_seed_gives_another_order_and_other_views(photographs, reached):
    opened = pipelines.open_split("folder", "train", data_dir=photographs)
    ((images, labels),) = batches(opened, 1, 32, seed=4, view=PHOTOGRAPHIC)
    assert not np.array_equal(labels, reached[0][1])
    assert not set(map(np.ndarray.tobytes, images)) & set(map(np.ndarray.tobytes, reached[0][0]))


def test_replicas_share_the_global_batch(photographs, reached, mirrored):
    with mirrored.scope():
        made = pipelines.training(
            "folder", "train", 32, seed=3, data_dir=photographs, view=PHOTOGRAPHIC
        )
    distributed = iter(mirrored.experimental_distribute_dataset(made))
    for expected in reached[:4]:
        shares = map(mirrored.experimental_local_results, next(distributed))
        for parts, whole in zip(shares, expected, strict=True):
            assert [len(part) for part in parts] == [16, 16]
            np.testing.assert_array_equal(np.concatenate(parts), whole)


def colours(count=16):
    """PNGs of one colour each: number n is 10 * n."""
    return [file_of(np.full((20, 24, 3), 10 * number, "uint8")) for number in range(count)]


def photograph():
    noise = np.random.default_rng(0).integers(0, 256, (90, 120, 3), "uint8")
    return file_of(noise, "JPEG", quality=90)


def placed(seed, count=16):
    """The numbers of the examples at the places of the first chunk."""
    return stream.shuffled(tf.range(16, dtype=tf.int64), count, seed).numpy().tolist()


def repaired(order, broken):
    """The examples that are delivered: of broken ones the next good one, around the end."""
    twice = order + order
    return [next(number for number in twice[place:] if number not in broken) for place in range(16)]


KINDS = {
    "empty": b"",
    "text": b"404 Not Found\n" * 40,
    "cut": photograph()[: len(photograph()) * 3 // 10],
    "missing": None,
}


def test_broken_images_are_replaced_by_the_next_good_ones(tmp_path, capfd):
    order = placed(0)
    # The last place's, the first two places' and one more: replacements wrap around.
    broken = dict(zip([order[15], order[0], order[1], order[7]], KINDS, strict=True))
    opened = source(tmp_path, colours())
    for number, kind in broken.items():
        path = tmp_path / f"{number:03}.jpg"
        path.unlink() if KINDS[kind] is None else path.write_bytes(KINDS[kind])
    found = batches(opened, 3)
    images, labels = found[0]
    assert list(labels) == repaired(order, broken)
    assert list(images[:, 5, 5, 0]) == [10 * number for number in labels]
    told = capfd.readouterr().err
    lines = [line for line in told.splitlines() if line.startswith("warning: cannot decode")]
    lines = [line for line in lines if str(tmp_path) in line]  # others' may still be working
    assert sum(line.count(".jpg") for line in lines) == 4  # once each, in three epochs
    for number in broken:
        assert f"{number:03}.jpg" in told
    assert "4 such images so far, 100 allowed" in lines[-1]


def told(action):
    """The error that a pipeline tells the user."""
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        action()
    found = errors.told(caught.value)
    assert isinstance(found, InputError)
    return str(found)


def test_more_broken_images_than_allowed_are_an_error_that_names_them(tmp_path):
    contents = [b"" if n in (3, 8) else data for n, data in enumerate(colours())]
    opened = source(tmp_path, contents)
    assert len(batches(opened, 2, max_corrupt=2)) == 2
    message = told(lambda: batches(opened, 2, max_corrupt=1))
    assert "more than 1 images cannot be decoded (max_corrupt)" in message
    assert "003.jpg" in message
    assert "008.jpg" in message


def test_a_broken_images_name_need_not_be_utf_8(tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jpg")
    opened = folder.from_files([path], [0], ("a",))
    for action in (lambda: batches(opened, 1), lambda: list(encoded.evaluation(opened, 1))):
        assert "/caf\N{REPLACEMENT CHARACTER}.jpg" in told(action)


def test_all_images_broken_is_an_error(tmp_path):
    message = told(lambda: batches(source(tmp_path, [b""] * 3), 1))
    assert message.startswith("none of these images can be decoded: ")
    assert "002.jpg" in message


def test_a_broken_image_changes_no_other_view(tmp_path, capfd):
    contents = [photograph()] * 16
    good = batches(source(tmp_path, contents), 1)[0][0]
    assert "cannot decode" not in capfd.readouterr().err
    bad = batches(source(tmp_path, [b"", *contents[1:]]), 1)[0][0]
    same = (good == bad).all((1, 2, 3))
    assert [place for place in range(16) if not same[place]] == [placed(0).index(0)]


def test_a_label_outside_the_classes_is_an_error_that_names_the_image(tmp_path):
    def check(action):
        message = told(action)
        assert "001.jpg has a label outside 0 to 4" in message
        assert "000.jpg" not in message

    check(lambda: batches(source(tmp_path, colours(3), [0, 5, 4], classes=5), 1))
    wrong = source(tmp_path, colours(3), [0, -1, 4], classes=5)
    check(lambda: list(encoded.evaluation(wrong, 3)))


def test_a_replacement_with_a_wrong_label_is_named_itself(tmp_path):
    """Were labels checked after replacement only, the broken image would be named too."""
    contents = [b"" if n == placed(0)[4] else data for n, data in enumerate(colours())]
    labels = [100 if n == placed(0)[5] else 0 for n in range(16)]
    message = told(lambda: batches(source(tmp_path, contents, labels), 1))
    assert f"{placed(0)[5]:03}.jpg" in message
    assert message.count(".jpg") == 1


def test_images_of_64_megapixels_are_trained_with(tmp_path):
    smooth = Image.radial_gradient("L").resize((8000, 8000), Image.Resampling.BILINEAR)
    contents = file_of(np.asarray(smooth), "JPEG")
    ((images, labels),) = batches(source(tmp_path, [contents, *colours(15)]), 1)
    assert set(labels) == set(range(16))
    assert np.ptp(images[list(labels).index(0)]) > 100


ODD = [(61, 97), (97, 61), (64, 64), (33, 120), (150, 75), (7, 9)]


def pillow_view(image, resize, size, interpolation):
    """torchvision's Resize and CenterCrop, by Pillow."""
    height, width = image.shape[:2]
    shorter, longer = min(height, width), max(height, width)
    long = int(resize * longer / shorter)
    new_width, new_height = (resize, long) if width <= height else (long, resize)
    resample = Image.Resampling[interpolation.upper()]
    resized = np.asarray(Image.fromarray(image).resize((new_width, new_height), resample), int)
    top, left = (round((side - size) / 2.0) for side in (new_height, new_width))
    return resized, resized[top : top + size, left : left + size]


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """Parts of a real photograph, and their source."""
    from sklearn.datasets import load_sample_image

    photo = load_sample_image("flower.jpg")
    images = [np.ascontiguousarray(photo[100 : 100 + h, 150 : 150 + w]) for h, w in ODD]
    return images, source(tmp_path_factory.mktemp("odd"), map(file_of, images))


@pytest.mark.parametrize(
    ("resize", "size", "interpolation"),
    [(40, 33, "bilinear"), (51, 51, "bilinear"), (90, 71, "bicubic")],
)
def test_centre_crops_are_those_of_torchvision(odd, resize, size, interpolation):
    images, opened = odd
    made = encoded.evaluation(
        opened, 4, image_size=size, resize=resize, interpolation=interpolation
    )
    found = list(made.as_numpy_iterator())
    assert [len(labels) for _, labels in found] == [4, 2]
    views = np.concatenate([views for views, _ in found])
    assert (views.dtype, found[0][1].dtype) == (np.uint8, np.int32)
    np.testing.assert_array_equal(np.concatenate([labels for _, labels in found]), range(6))
    for image, view in zip(images, views, strict=True):
        _, expected = pillow_view(image, resize, size, interpolation)
        np.testing.assert_array_equal(view, expected)


def test_ten_crops_are_corners_and_centre_and_their_mirror_images(odd):
    images, opened = odd
    made = encoded.evaluation(opened, 6, image_size=35, resize=40, crops="ten")
    ((views, _),) = made.as_numpy_iterator()
    assert views.shape == (6, 10, 35, 35, 3)
    for image, view in zip(images, views, strict=True):
        resized, centre = pillow_view(image, 40, 35, "bilinear")
        expected = [resized[:35, :35], resized[:35, -35:], resized[-35:, :35]]
        expected += [resized[-35:, -35:], centre]
        np.testing.assert_array_equal(view[:5], expected)
        np.testing.assert_array_equal(view[5:], view[:5, :, ::-1])


def test_replicas_get_equal_shares_with_weights(photographs):
    made = pipelines.evaluation("folder", "val", 7, data_dir=photographs, image_size=16, replicas=2)
    found = list(made.as_numpy_iterator())
    assert [images.shape for images, _, _ in found] == [(8, 16, 16, 3)] * 2
    labels, weights = (np.concatenate(column) for column in list(zip(*found, strict=True))[1:])
    np.testing.assert_array_equal(weights, [1] * 12 + [0] * 4)
    np.testing.assert_array_equal(labels[:12], [0] * 6 + [1] * 6)


def test_whole_images_name_a_broken_one(tmp_path):
    opened = source(tmp_path, [*colours(2), b""])
    message = told(lambda: list(encoded.whole_images(opened, 20, 10**6)))
    assert message.startswith(f"cannot decode {tmp_path / '002.jpg'}; ")


def test_a_line_cannot_be_resized_to_more_than_memory_holds(tmp_path):
    """1 x 40,000 pixels would become 256 x 10,240,000, of 8 GB."""
    line = np.zeros((1, 40000, 3), "uint8")
    opened = source(tmp_path, [file_of(line[:, :100]), file_of(line)])
    message = told(lambda: list(encoded.evaluation(opened, 2)))
    assert message.startswith(f"cannot decode {tmp_path / '001.jpg'}; ")


@pytest.mark.parametrize("pixels", [1, pytest.param(40 * 80 * 4, marks=pytest.mark.slow)])
def test_whole_images_come_once_each_in_batches_of_one_shape(odd, pixels):
    images, opened = odd
    paths = [name.decode() for _, _, name in opened.ordered().as_numpy_iterator()]
    twice = folder.from_files(paths * 3, list(range(18)), tuple(map(str, range(18))))
    seen = {}
    for numbers, views, labels in encoded.whole_images(twice, 40, pixels).as_numpy_iterator():
        assert len(numbers) == len(views) == len(labels)
        assert len(numbers) == 1 or views[..., 0].size <= pixels
        np.testing.assert_array_equal(numbers, labels)
        seen.update(zip(numbers.tolist(), views, strict=True))
    assert sorted(seen) == list(range(18))
    for number, view in seen.items():
        expected, _ = pillow_view(images[number % 6], 40, 40, "bilinear")
        np.testing.assert_array_equal(view, expected)


@pytest.mark.parametrize("kind", ["cut", pytest.param("missing", marks=pytest.mark.slow)])
def test_in_evaluation_a_broken_image_is_an_error_that_names_it(tmp_path, kind):
    opened = source(tmp_path, colours(4))
    path = tmp_path / "002.jpg"
    path.unlink() if KINDS[kind] is None else path.write_bytes(KINDS[kind])
    message = told(lambda: list(encoded.evaluation(opened, 2)))
    assert message.startswith(f"cannot decode {path}; ")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image_size": 100}, "Scales 64 to 120 do not fit crops of side 100"),
        ({"scales": (90, 80)}, "smallest scale <= largest"),
        ({"image_size": 0}, "image_size"),
        ({"min_area": 1.5}, "min_area"),
        ({"pca_noise": -1}, "pca_noise"),
        ({"colour_jitter": 2}, "colour_jitter"),
        ({"cutmix": 3}, "cutmix"),
    ],
)
def test_views_that_cannot_be(tmp_path, change, words):
    opened = source(tmp_path, colours(1))
    with pytest.raises(InputError, match=words):
        encoded.training(opened, stream.Chunks(16), seed=0, view=PLAIN._replace(**change))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"interpolation": "nearest"}, "bilinear, bicubic"),
        ({"crops": "eleven"}, "centre, ten"),
        ({"image_size": 300}, "Crops of side 300 do not fit a shorter side of 256"),
    ],
)
def test_evaluations_that_cannot_be(tmp_path, options, words):
    with pytest.raises(InputError, match=words):
        encoded.evaluation(source(tmp_path, colours(1)), 1, **options)


def test_bad_arguments(tmp_path):
    opened = source(tmp_path, colours(1))
    with pytest.raises(InputError, match="max_corrupt"):
        encoded.training(opened, stream.Chunks(16), seed=0, max_corrupt=-1)
    with pytest.raises(InputError, match="view and services are for photographs"):
        pipelines.training("digits", "train", 16, seed=0, view=PLAIN)
    with pytest.raises(InputError, match="without resize"):
        pipelines.evaluation("digits", "test", 16, resize=40)


@pytest.mark.parametrize(("size", "sides"), [(224, (256, 480)), (112, (128, 240)), (64, (73, 137))])
def test_scales_follow_the_size_of_the_crop(size, sides):
    assert pipelines.View(image_size=size).shorter_sides == sides
    assert pipelines.View(image_size=size, scales=(500, 600)).shorter_sides == (500, 600)


def test_whole_images_wait_for_others_of_their_size_in_short_runs_only(tmp_path, monkeypatch):
    """All sizes differ: no batch can fill, and each run of 4 must still end."""
    monkeypatch.setattr(encoded, "_RUN", 4)
    paths = []
    for number in range(10):
        paths.append(str(tmp_path / f"{number}.png"))
        picture = np.full((20, 30 + number, 3), number, "uint8")
        tf.io.write_file(paths[-1], tf.io.encode_png(picture))
    source = folder.from_files(paths, [0] * 10, ("one",))
    found = [int(n) for numbers, _, _ in encoded.whole_images(source, 20, 10**9) for n in numbers]
    assert [sorted(found[i : i + 4]) for i in (0, 4, 8)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


if __name__ == "__main__":
    import sys

    sys.exit(pytest.main([__file__]))
