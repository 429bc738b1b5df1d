"""Small datasets in V-D4RL's two formats, written as its own code writes them."""

import numpy as np


def episodes(lengths, side=84, act_dim=2, terminal=(), seed=0):
    """One dictionary per episode of the given length, channels first; episodes numbered in `terminal` end in a terminal state."""
    rng = np.random.default_rng(seed)
    made = []
    for number, length in enumerate(lengths):
        step_type = np.ones(length)
        step_type[0], step_type[-1] = 0, 2
        discount = np.ones(length, np.float32)
        discount[-1] = number not in terminal
        made.append(
            {
                "observation": rng.integers(0, 256, (length, 3, side, side), np.uint8),
                "action": rng.uniform(-1, 1, (length, act_dim)).astype(np.float32),
                "reward": rng.uniform(0, 2, length).astype(np.float32),
                "discount": discount,
                "step_type": step_type,
            }
        )
    return made


def write_shard(path, made, **changes):
    """HDF5, as `npz_to_hdf5.py` of V-D4RL writes it; a change to None leaves a column out."""
    import h5py

    columns = {key: np.concatenate([episode[key] for episode in made]) for key in made[0]} | changes
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for key, values in columns.items():
            if values is not None:
                file.create_dataset(key, data=values, compression="gzip")


def write_episode(path, episode, **changes):
    """`.npz`, as `hdf5_to_npz.py` of V-D4RL writes it."""
    length = len(episode["reward"])
    columns = {
        "image": episode["observation"].transpose(0, 2, 3, 1),
        "action": episode["action"],
        "reward": episode["reward"],
        "discount": episode["discount"],
        "is_first": np.arange(length) == 0,
        "is_last": np.arange(length) == length - 1,
        "is_terminal": episode["discount"] == 0,
    } | changes
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **{key: values for key, values in columns.items() if values is not None})
