"""Guards that have ``weights`` replace stored ones, before any prompt arrives; detaching puts the originals back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from ...errors import ArtefactError, ConfigError, GuardBypassed, UnsupportedPipeline
from ..model.base_weights import belongs
from ..model.replaced import changed, held_elsewhere, keep, original_of, put_back, replace
from ..proof.part_paths import PartPaths


class WeightsSeam:
    """Puts the weights of every such guard in place, sees whether they stay and are used, and takes them out again.

    Keys are the pipeline's attribute and the parameter's path, as in ``unet.conv_in.weight``.

    Raises:
        ArtefactError: the guard's weights belong to another model, or hold NaN or infinity.
        ConfigError: two guards replace the same weight.
        UnsupportedPipeline: the weights are not there while the pipeline rests.
    """

    def __init__(self, pipe: Any, guards: list[Any]) -> None:
        self._pipe = pipe
        self._planned = {guard: self._plan(guard) for guard in guards}
        check_overlap(guards, list(self._planned.values()))
        self._parameters = {key: p for plan in self._planned.values() for key, p in plan.items()}
        self._roots = {name: getattr(pipe, name) for name in {key.partition(".")[0] for key in self._parameters}}
        self._marks: dict[str, _Mark] = {path: _Mark() for path in map(_owner, self._parameters)}
        self._owners = {path: self._module(path) for path in self._marks}
        self._paths = [
            PartPaths(root, [part for path, part in self._owners.items() if path.partition(".")[0] == name])
            for name, root in self._roots.items()
        ]

    def put(self) -> None:
        """All weights, or none where one can't be put."""
        values = {key: value for guard in self._planned for key, value in guard.weights().items()}
        with ExitStack() as undo:
            for key, parameter in self._parameters.items():
                replace(key, parameter, values[key])
                undo.callback(put_back, parameter)
            undo.pop_all()

    def keep(self) -> None:
        """Leave the weights where they are for good.

        Raises:
            ConfigError: a guard on another pipeline holds them; they stay its own.
        """
        if held_elsewhere(self._parameters.values()):
            self.restore()
            raise ConfigError("the pipeline shares modules with a guarded one: detach that guard first.")
        for parameter in self._parameters.values():
            keep(parameter)

    def restore(self) -> None:
        """Copy the stored originals back, bit for bit, unless a guard on another pipeline still wants the others."""
        present = self._present()
        for key, parameter in self._parameters.items():
            put_back(parameter, present.get(key))

    @contextmanager
    def watched(self) -> Iterator[None]:
        """In this block it is noted which of the modules run."""
        with ExitStack() as hooks:
            for path, mark in self._marks.items():
                hooks.callback(self._owners[path].register_forward_pre_hook(mark).remove)
            yield

    def check(self, *, contents: bool = True) -> None:
        """Raise where the weights in place are no longer the guards', or an adapter lies over them.

        Args:
            contents: read every value; otherwise only where a pointer or a version counter says that it was written.

        Raises:
            GuardBypassed: a weight was changed, replaced or adapted since the guard was attached.
        """
        over = "was replaced, or an adapter was loaded over it, since the guard was attached."
        for lost in filter(None, (paths.lost() for paths in self._paths)):
            raise GuardBypassed(f"{lost} {over}")
        for key, parameter in self._parameters.items():
            owner, _, name = key.rpartition(".")
            module = self._owners[owner]
            if module._parameters.get(name) is not parameter or name in vars(module):  # where it would lie before it
                raise GuardBypassed(f"{key} {over}")
        for key in changed(self._parameters, contents):
            raise GuardBypassed(f"{key} was changed since the guard was attached; detach and attach again.")

    def check_removable(self) -> None:
        """Raise where the originals can't be put back so that they stay.

        Raises:
            GuardBypassed: an adapter is fused, which would later be subtracted from the originals; or the weights are
                elsewhere, from where they would come back.
        """
        present = self._present()
        if away := [key for key in self._parameters if key in present and present[key].is_meta]:
            raise GuardBypassed(
                f"{away[0]} is offloaded weight by weight: call pipe.remove_all_hooks() and detach, then offload again."
            )
        mine = {id(parameter): key for key, parameter in self._parameters.items()}
        modules = [module for root in self._roots.values() for module in root.modules()]
        for module in modules if mine else ():
            fused = module.parameters() if getattr(module, "merged_adapters", None) else ()
            for key in (mine[id(parameter)] for parameter in fused if id(parameter) in mine):
                raise GuardBypassed(
                    f"an adapter is fused into {key}, which a guard replaced: call pipe.unfuse_lora() and detach "
                    "then. Fuse it again after that if it is meant to stay."
                )

    def _present(self) -> dict[str, nn.Parameter]:
        """What stands in the pipeline's modules now, by path."""
        roots = self._roots.items()
        return {key: p for name, module in roots for key, p in module.named_parameters(prefix=name)}

    def begin(self) -> None:
        """A call begins: nothing has been used in it."""
        for mark in self._marks.values():
            mark.ran = False

    def used(self, guard: Any, needed: tuple[str, ...]) -> bool:
        """Whether modules that hold the guard's weights ran in this call.

        Args:
            needed: what makes a picture, as the beginnings of paths.

        Raises:
            GuardBypassed: the picture was made without one of them.
        """
        owners = dict.fromkeys(map(_owner, self._planned[guard]))
        idle = [path for path in owners if not self._marks[path].ran]
        if missing := [path for path in idle if f"{path}.".startswith(needed)]:
            raise GuardBypassed(
                f"pipe.{missing[0]} was not run, so the weights of guard {guard.name!r} in it had no part in the "
                f"picture ({len(missing)} of {len(owners)} modules). Fused projections and processors of their own "
                "go round them: undo fuse_qkv_projections, or use a standard attention processor."
            )
        return len(idle) < len(owners)

    def _plan(self, guard: Any) -> dict[str, nn.Parameter]:
        weights = guard.weights()
        parameters = {key: self._find(guard, key) for key in weights}
        for key, value in weights.items():
            if parameters[key].shape != value.shape:
                raise ArtefactError(
                    f"guard {guard.name!r}: {key} is {tuple(value.shape)}, but {tuple(parameters[key].shape)} in this "
                    "pipeline; the artefact belongs to another model."
                )
            if not torch.isfinite(value.to(parameters[key])).all():
                raise ArtefactError(f"guard {guard.name!r}: {key} holds NaN or infinity in {parameters[key].dtype}.")
        if not belongs({key: original_of(p) for key, p in parameters.items()}, guard.base["weights"]):
            raise ArtefactError(
                f"guard {guard.name!r} was made for other weights than this pipeline holds (hash differs). Load the "
                "base model that it was made for, without adapters."
            )
        return parameters

    def _module(self, path: str) -> nn.Module:
        root, _, rest = path.partition(".")
        return self._roots[root].get_submodule(rest)

    def _find(self, guard: Any, key: str) -> nn.Parameter:
        module, _, path = key.partition(".")
        try:
            parameter = getattr(self._pipe, module).get_parameter(path)
        except AttributeError as error:
            raise ArtefactError(f"guard {guard.name!r}: this pipeline has no weight {key!r} ({error}).") from None
        if parameter.is_meta:
            raise UnsupportedPipeline("weights are offloaded one by one; attach weight guards before offloading.")
        return parameter


class _Mark:
    """A hook that notes that its module ran. It only writes, so a compiler can take it into its graph."""

    def __init__(self) -> None:
        self.ran = False

    def __call__(self, module: nn.Module, args: Any) -> None:
        self.ran = True


def _owner(key: str) -> str:
    """The path of the module that holds a parameter."""
    return key.rpartition(".")[0]


def check_overlap(guards: Sequence[Any], planned: Sequence[Mapping[str, Any]]) -> None:
    """Raise where two guards replace the same weight; ``planned`` has the keys of each.

    Raises:
        ConfigError: they do.
    """
    owner: dict[str, str] = {}
    for guard, plan in zip(guards, planned, strict=True):
        if shared := sorted(set(owner) & set(plan)):
            raise ConfigError(
                f"guards {owner[shared[0]]!r} and {guard.name!r} both replace {shared[0]} "
                f"({len(shared)} weights in all); use one of them."
            )
        owner.update(dict.fromkeys(plan, guard.name))
