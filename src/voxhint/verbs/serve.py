"""`voxhint serve`: hints made and masks judged in the browser, in a session beside the study."""

import secrets
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from voxhint.config import LabelConfig
from voxhint.core import UNDRAWN, Case, Grid, Hint, LabelSet, Soft, Strokes, Turn, Volume
from voxhint.core.errors import (
    BadFileError,
    BadStudyError,
    NotAvailableError,
    OutputError,
    VoxhintError,
)
from voxhint.core.labels import file_name
from voxhint.core.study import CaseFiles, Study
from voxhint.core.volume import with_background
from voxhint.files.images import read_ids, read_probability
from voxhint.files.problems import Problem
from voxhint.files.study.layout import images_in
from voxhint.files.validate.study import survey
from voxhint.propagate.interactive import LiveMask
from voxhint.runs import locked
from voxhint.serve import Session, make_app
from voxhint.serve.app import BUILD, is_built
from voxhint.serve.contract import Layer
from voxhint.serve.journal import NAME as JOURNAL
from voxhint.serve.journal import Journal
from voxhint.serve.rounds import Renewed
from voxhint.serve.scene import Desk, Listed, Scene, mark_of
from voxhint.serve.undo_redo import LAYERS, Drawn
from voxhint.verbs.session_folder import SessionFolder, begin
from voxhint.verbs.session_images import FOLDER as IMAGES
from voxhint.verbs.session_images import study_of_images
from voxhint.verbs.session_model import SessionModel
from voxhint.verbs.session_training import RoundProcess, newest_run, renewed

_SURE = 0.9  # probability that a mask without probabilities is believed with
_PATIENCE = 5  # seconds in which open answers may end when the program does
_LISTED = 20  # problems that are told before the rest is counted


def serve(  # noqa: PLR0913 - a command and its flags
    study: Path,
    out: Path,
    *,
    run: Path | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    undrawn: int | None = None,
    labels: Sequence[str] = (),
    channel: str = "image",
    announce: Callable[[str], None],
) -> None:
    """Serve a study until the process is told to end.

    Args:
        study: The study folder; only read.
        out: The session's folder, which is a study itself; made, or gone on with.
        run: What `voxhint run` wrote: its masks are shown, and what hints correct.
        host: Address to listen at; others than loopback are seen by the network.
        port: To listen at; 0 takes a free one.
        undrawn: The value that means "not drawn" in drawn maps, if not dataset.json says it.
        labels: Names of what is to be marked, where `study` holds images alone.
        channel: What those images are, such as CT.
        announce: Hears the link once it can be opened.

    Raises:
        NotAvailableError: The page is not built.
        OutputError: The address cannot be listened at.
    """
    import uvicorn

    if not is_built():
        msg = f"the page is not built; run {BUILD} in the checkout (it needs node and npm)"
        raise NotAvailableError(msg)
    opened = None if labels else open_for_review(study, undrawn=undrawn)
    with locked(out, source=study):
        if opened is None:
            opened = open_for_review(study_of_images(study, labels, channel, out))
        session = open_session(opened, out, run=run)
        listening = _listen(host, port)
        port = listening.getsockname()[1]
        token = secrets.token_urlsafe(24)
        names = {host, "127.0.0.1", "localhost", "[::1]"}
        names |= {socket.gethostname(), socket.getfqdn()} if host in ("0.0.0.0", "::") else set()
        served = frozenset(f"{name}:{port}" for name in names)
        app = make_app(session, token=token, hosts=served, over=lambda: server.should_exit)
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_PATIENCE,
        )
        server = uvicorn.Server(config)
        shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host
        threading.Thread(target=_load_early, args=(session,), daemon=True).start()
        announce(f"http://{shown}:{port}/#token={token}")
        server.run(sockets=[listening])


def _load_early(session: Session) -> None:
    """Read the first case while the browser starts."""
    with suppress(VoxhintError):  # the page is told when it asks
        session.open_first()


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises:
        OutputError: The address is taken, or not ours.
    """
    try:
        listening = socket.create_server((host, port))
    except OSError as error:
        told = error.strerror or str(error)
        msg = f"{host}:{port} cannot be listened at ({told}); choose another --port or --host"
        raise OutputError(msg) from None
    return listening


def open_for_review(root: Path, *, undrawn: int | None = None) -> Study:
    """Open a study to be looked at: it needs no hints yet.

    Args:
        root: The study folder.
        undrawn: The value that means "not drawn" in drawn maps, if not dataset.json says it.

    Returns:
        The study without the cases that cannot be read.

    Raises:
        BadStudyError: It cannot be used.
    """
    seen = survey(root, undrawn=undrawn)
    grave = [problem for problem in seen.errors if not _is_lack(problem)]
    if seen.study is None or grave:
        more = [f"... and {len(grave) - _LISTED} more"] if len(grave) > _LISTED else []
        raise BadStudyError("\n".join([*map(str, grave[:_LISTED]), *more]))
    if not seen.study.training and not seen.study.test:
        msg = f"{root}: holds no image; put images into imagesTr"
        raise BadStudyError(msg)
    return seen.study


def _is_lack(problem: Problem) -> bool:
    """Return whether a problem is that nothing was hinted yet, which is what a session mends."""
    return problem.where == "hints" and problem.case is None


def open_session(study: Study, out: Path, *, run: Path | None = None) -> Session:
    """Return the session in a folder, everything done in it before done again.

    Args:
        study: What it is about.
        out: The folder, made if it is missing; the caller holds its lock.
        run: What `voxhint run` wrote.
    """
    out.mkdir(parents=True, exist_ok=True)
    begin(study, out)
    places: dict[str, tuple[Grid, Turn]] = {}
    folder = SessionFolder(out, study, places)
    cases = {files.name: files for files in (*study.training, *study.test)}
    testing = {files.name for files in study.test}
    newest = newest_run(out)
    shown, model = _Shown(run if newest is None else newest), SessionModel(study.labels)
    made = Renewed("" if run is None else run.resolve().name, {})
    made = made if newest is None else renewed(newest)

    def open_scene(name: str) -> Scene:
        scene, grid, turn = _scene(study, cases[name])
        places[name] = (grid, turn)
        _show_layers(scene, study, cases[name], (shown.masks, grid, turn))
        return scene

    def renew(name: str, scene: Scene) -> None:
        grid, turn = places[name]
        _show_layers(scene, study, cases[name], (shown.masks, grid, turn))
        prior = _prior(study, name, grid, shown.masks)
        said = None if prior is None else turn.apply(prior)
        if prior is None and shown.run is not None:
            said = model.ask(shown.run, scene.images)
        scene.answers.trust(said)

    def begin_round(minutes: float) -> RoundProcess:
        return RoundProcess(out, minutes, newest_run(out) or run, shown.renew)

    desk = Desk(
        name=(out if study.root.name == IMAGES else study.root).resolve().name,
        labels=study.labels,
        channels=study.channels,
        cases=tuple(_listed(study, name, made, hinted=name not in testing) for name in cases),
        open_scene=open_scene,
        keeper=folder,
        run=made.run or None,
        renew=renew,
        begin=begin_round,
        open_image=_open_image,
    )
    return Session(desk, Journal(out / JOURNAL))


def _open_image(images: Sequence[Volume], labels: LabelSet) -> LiveMask:
    return LiveMask(images, labels, config=LabelConfig())


class _Shown:
    """The masks that are shown: those of the newest run."""

    def __init__(self, run: Path | None) -> None:
        self.renew(run)

    def renew(self, run: Path | None) -> None:
        """Show those of another run."""
        self.run, self.masks = run, _masks_of(run)


def _listed(study: Study, name: str, made: Renewed, *, hinted: bool) -> Listed:
    marks = tuple(mark for hint in study.hints.get(name, ()) for mark in mark_of(hint))
    drawings = len(study.stroke_files.get(name, ()))
    sure = made.sureness.get(name)
    return Listed(name, marks, takes_hints=hinted, drawings=drawings, sureness=sure)


def _masks_of(run: Path | None) -> Mapping[str, Path]:
    """Return the masks, and probabilities, of a run by their names.

    Raises:
        BadStudyError: The run has neither masks nor a model.
    """
    if run is None:
        return {}
    found: dict[str, Path] = {}
    for folder in (run, run / "masks", run / "masksTr"):
        if folder.is_dir():
            found |= images_in(folder)
    if not found and not any((run / at / "plan.json").is_file() for at in ("", "model")):
        msg = f"{run}: holds no masks and no model; give what voxhint run or predict wrote"
        raise BadStudyError(msg)
    return found


def _scene(study: Study, files: CaseFiles) -> tuple[Scene, Grid, Turn]:
    """Return a case on the page's grid, and how it lies on its own."""
    from voxhint.propagate.study import aligned_case  # loads torch, so not before a case is opened

    case = aligned_case(study, files)
    turn = case.grid.turn_to_ras()
    view = case.grid.turned(turn)
    images = {
        name: Volume(turn.apply(image.voxels), view, image.unit)
        for name, image in case.images.items()
    }
    live = LiveMask(list(images.values()), study.labels, config=LabelConfig())
    drawn, fixed = _drawn(case, study, files.name, (turn, view))
    return Scene(images, drawn, live, fixed), case.grid, turn


def _show_layers(
    scene: Scene, study: Study, files: CaseFiles, of: tuple[Mapping[str, Path], Grid, Turn]
) -> None:
    """Let masks of a run, and the truth, be shown beside the case's own mask."""
    masks, grid, turn = of
    layers = {}
    truth = files.dense or files.truth
    if truth is not None:
        layers["truth"] = lambda: turn.apply(_classes(study, truth, grid))
    mask = masks.get(files.name)
    if mask is not None:
        layers["run"] = lambda: turn.apply(_classes(study, mask, grid))
    unsure = masks.get(f"{files.name}__uncertainty")
    if unsure is not None:
        layers["uncertainty"] = partial(_turned_bytes, unsure, grid, turn)
    for label in study.labels.foreground:
        chance = masks.get(f"{files.name}__{file_name(label)}")
        if chance is not None:
            layers[f"chance of {label}"] = partial(_turned_bytes, chance, grid, turn)
    scene.layers.clear()
    scene.layers.update(layers)


def _drawn(
    case: Case, study: Study, name: str, place: tuple[Turn, Grid]
) -> tuple[dict[Layer, Drawn], tuple[Hint, ...]]:
    """Return what the study has drawn, and what of it stays as it is."""
    turn, view = place
    drawn = {layer: np.full(view.shape, UNDRAWN, np.uint8, order="F") for layer in LAYERS}
    fixed: list[Hint] = []
    voxels = [hint for hint in case.hints if isinstance(hint, Strokes | Soft)]
    for file, hint in zip(study.stroke_files.get(name, ()), voxels, strict=True):
        if isinstance(hint, Soft):
            fixed.append(Soft(hint.label, turn.apply(hint.probability), view))
        elif file.kind == "labels" or file.kind == "soft":
            fixed.append(Strokes(turn.apply(hint.classes), view, hint.complete))
        else:
            drawn[file.kind] = np.asfortranarray(turn.apply(hint.classes))
    return drawn, tuple(fixed)


def _classes(study: Study, path: Path, grid: Grid) -> UInt8[np.ndarray, "i j k"]:
    """Return a mask as class numbers.

    Raises:
        BadFileError: It lies elsewhere than the image.
    """
    ids, place = read_ids(path)
    _require_place(path, place, grid)
    return study.labels.to_classes(ids)


def _turned_bytes(path: Path, grid: Grid, turn: Turn) -> UInt8[np.ndarray, "i j k"]:
    values, place = read_probability(path)
    _require_place(path, place, grid)
    return turn.apply(np.asarray(np.rint(255 * values), np.uint8))


def _require_place(path: Path, place: Grid, grid: Grid) -> None:
    if not place.same(grid, tol_mm=0.5 * float(grid.spacing_mm.min())):
        msg = f"{path.name}: does not lie on the image; give the run of this study"
        raise BadFileError(msg)


def _prior(
    study: Study, name: str, grid: Grid, masks: Mapping[str, Path]
) -> Float32[np.ndarray, "class i j k"] | None:
    """Return what the run says of a case: its probabilities, or else its mask, believed less."""
    labels = study.labels
    paths = [masks.get(f"{name}__{file_name(label)}") for label in labels.foreground]
    given = [path for path in paths if path is not None]
    if len(given) == len(paths):
        read = [read_probability(path) for path in given]
        for path, (_, place) in zip(given, read, strict=True):
            _require_place(path, place, grid)
        return with_background(np.stack([values for values, _ in read]))
    mask = masks.get(name)
    if mask is None:
        return None
    classes = _classes(study, mask, grid)
    others = np.float32((1 - _SURE) / max(1, len(labels.names) - 1))
    prior = np.full((len(labels.names), *classes.shape), others, np.float32)
    for number in range(len(labels.names)):
        prior[number][classes == number] = _SURE
    return prior
