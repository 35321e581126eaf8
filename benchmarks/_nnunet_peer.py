"""nnU-Net v2's side of `against_nnunet`, run by an interpreter that has nnunetv2; prints JSON.

usage: _nnunet_peer.py steps SHAPE
       _nnunet_peer.py train NUMBER MINUTES IMAGES MASKS

SHAPE is JSON: patch, batch, classes, strides, kernels and features of a plan.
"""

import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

ROUNDS = 6
_DEEP = (1.0, 0.5, 0.25, 0.125)  # nnU-Net's weights of its outputs, fine to coarse
_FULLRES = "3d_fullres"


def of(name: str) -> Any:  # noqa: ANN401
    """Return what `module:name` names; mypy's interpreter need not have it."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


def fastest(step: Callable[[], object]) -> float:
    """Return the CPU seconds of the fastest of some steps after a first one."""
    spent = []
    for _ in range(1 + ROUNDS):
        began = time.process_time()
        step()
        spent.append(time.process_time() - began)
    return min(spent[1:])


def plain_unet(shape: dict[str, Any], *, deep: bool) -> nn.Module:
    """Return nnU-Net's plain U-Net of a shape."""
    net: nn.Module = of("dynamic_network_architectures.architectures.unet:PlainConvUNet")(
        input_channels=1,
        n_stages=len(shape["features"]),
        features_per_stage=shape["features"],
        conv_op=nn.Conv3d,
        kernel_sizes=shape["kernels"],
        strides=shape["strides"],
        n_conv_per_stage=2,
        num_classes=shape["classes"],
        n_conv_per_stage_decoder=2,
        conv_bias=True,
        norm_op=nn.InstanceNorm3d,
        norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
        deep_supervision=deep,
    )
    return net


def step_of(shape: dict[str, Any], *, deep: bool, half: bool) -> Callable[[], None]:
    """Return a training step of the plain U-Net with nnU-Net's loss and optimiser.

    Args:
        shape: Of the plan.
        deep: Score the coarser outputs too, as nnU-Net's trainer does.
        half: Compute in bfloat16, which nnU-Net's trainer does on a GPU alone.
    """
    torch.manual_seed(0)
    net = plain_unet(shape, deep=deep)
    sgd = torch.optim.SGD(net.parameters(), 0.01, 0.99, weight_decay=3e-5, nesterov=True)
    loss = of("nnunetv2.training.loss.compound_losses:DC_and_CE_loss")(
        {"batch_dice": False, "smooth": 1e-5, "do_bg": False, "ddp": False},
        {},
        dice_class=of("nnunetv2.training.loss.dice:MemoryEfficientSoftDiceLoss"),
    )
    image = torch.randn(shape["batch"], 1, *shape["patch"])
    truth = torch.randint(0, shape["classes"], image.shape).float()

    def step() -> None:
        sgd.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            made = net(image)
        outputs: list[Tensor] = made if deep else [made]
        total = image.new_zeros(())
        for weight, output in zip(_DEEP[: len(outputs)], outputs, strict=True):
            small = nn.functional.interpolate(truth, output.shape[2:])
            total = total + weight * loss(output.float(), small)
        total.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(net.parameters(), 12)
        sgd.step()

    return step


def train(number: int, minutes: float, images: Path, masks: Path) -> dict[str, Any]:
    """Train by nnU-Net's own trainer for some minutes of CPU time, and predict.

    Plan, preparation, network, loss, augmentation and optimiser are nnU-Net's own; its step size
    falls over the time there is as it would over 1,000 epochs. It learns from all cases.

    Args:
        number: Of the dataset in `nnUNet_raw`.
        minutes: Of CPU time; planning, preparing and predicting are not counted.
        images: A folder of images to predict.
        masks: Where their masks go.

    Returns:
        Steps, seconds and parameters.
    """
    api = importlib.import_module("nnunetv2.experiment_planning.plan_and_preprocess_api")
    api.extract_fingerprints([number], num_processes=1, show_progress_bar=False)
    api.plan_experiments([number])
    api.preprocess([number], configurations=(_FULLRES,), num_processes=[1])
    os.environ["nnUNet_n_proc_DA"] = "0"  # noqa: SIM112  # in this process, so that its time counts
    trainer = of("nnunetv2.run.run_training:get_trainer_from_args")(
        str(number), _FULLRES, "all", device=torch.device("cpu")
    )
    trainer.on_train_start()
    trainer.network.train()
    limit, began, taken, used = 60 * minutes, time.process_time(), 0, 0.0
    while used < limit:
        for group in trainer.optimizer.param_groups:
            group["lr"] = trainer.initial_lr * (1 - used / limit) ** 0.9
        told = trainer.train_step(next(trainer.dataloader_train))
        used, taken = time.process_time() - began, taken + 1
        print(f"{used:.0f} s, {taken} steps, loss {told['loss']:.3f}", flush=True)
    trainer.current_epoch = 1
    trainer.on_train_end()
    predictor = of("nnunetv2.inference.predict_from_raw_data:nnUNetPredictor")(
        use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False
    )
    predictor.initialize_from_trained_model_folder(trainer.output_folder_base, ("all",))
    masks.mkdir(parents=True, exist_ok=True)
    predictor.predict_from_files_sequential(str(images), str(masks))
    count = sum(p.numel() for p in trainer.network.parameters())
    return {"steps": taken, "seconds": used, "parameters": count}


def main() -> None:
    """Do what is asked; what nnU-Net prints goes to standard error."""
    torch.set_num_threads(1)
    answer, sys.stdout = sys.stdout, sys.stderr
    told: dict[str, Any]
    if sys.argv[1] == "steps":
        shape = json.loads(sys.argv[2])
        told = {
            "trainer": fastest(step_of(shape, deep=True, half=False)),
            "bfloat16": fastest(step_of(shape, deep=False, half=True)),
            "parameters": sum(p.numel() for p in plain_unet(shape, deep=False).parameters()),
        }
    else:
        number, minutes, images, masks = sys.argv[2:]
        told = train(int(number), float(minutes), Path(images), Path(masks))
    print(json.dumps(told), file=answer)


if __name__ == "__main__":
    main()
