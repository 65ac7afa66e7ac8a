"""State-dict names: a captured graph has those of the module that it was captured from, and no others."""

from __future__ import annotations

from torch import fx, nn

__all__ = ["match_names"]


def match_names(graph_module: fx.GraphModule, module: nn.Module) -> None:
    """Give the graph the model's state-dict names: those that it does not use, and none for torch's own constants."""
    names = set(module.state_dict())
    for name, tensor in (*module.named_parameters(remove_duplicate=False), *module.named_buffers()):
        if name in names and not _has(graph_module, name):
            owner, _, leaf = name.rpartition(".")
            parent = _submodule(graph_module, owner)
            if isinstance(tensor, nn.Parameter):
                parent.register_parameter(leaf, tensor)
            else:
                parent.register_buffer(leaf, tensor)
    for path, part in graph_module.named_modules():
        part._non_persistent_buffers_set.update(
            leaf for leaf in part._buffers if (f"{path}.{leaf}" if path else leaf) not in names
        )


def _has(module: nn.Module, name: str) -> bool:
    owner, _, leaf = name.rpartition(".")
    try:
        return hasattr(module.get_submodule(owner), leaf)
    except AttributeError:
        return False


def _submodule(module: nn.Module, path: str) -> nn.Module:
    for name in path.split(".") if path else ():
        if not hasattr(module, name):
            module.add_module(name, nn.Module())
        module = getattr(module, name)
    return module
