"""Flags of a server with the files that `export serving` writes for its operator."""

from __future__ import annotations

from pathlib import Path


def operator_flags(versions: Path) -> list[str]:
    """Writes the operator's files for a folder of versions of "model"; the flags that name them."""
    from keras_attn_nmt.export import export_serving

    files = {path.name: path for path in export_serving(versions, name="model")}
    return [
        "--enable_batching=true",
        f"--batching_parameters_file={files['batching.config']}",
        f"--monitoring_config_file={files['monitoring.config']}",
        "--max_num_load_retries=5",
        "--load_retry_interval_micros=1000000",
    ]
