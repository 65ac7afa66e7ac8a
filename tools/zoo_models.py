"""The zoo of `tools/bench_zoo`: model classes of the transformers package, built small and with random weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn

Draw = Callable[[Generator], Tensor]
Options = dict[str, Any]


@dataclass(frozen=True)
class Entry:
    """One architecture: a model class, its configuration's options, and how its example inputs are drawn."""

    model: str
    options: Options
    draws: Sequence[Draw]

    def build(self) -> nn.Module:
        import transformers

        torch.manual_seed(0)
        model = getattr(transformers, self.model)
        return model(model.config_class(**self.options)).eval()  # type: ignore[no-any-return]

    def inputs(self) -> tuple[Tensor, ...]:
        generator = torch.Generator().manual_seed(1)
        return tuple(draw(generator) for draw in self.draws)


def noise(*shape: int) -> Draw:
    return lambda generator: torch.randn(shape, generator=generator)


def image(side: int) -> Draw:
    return noise(1, 3, side, side)


def sound(length: int) -> Draw:
    return noise(1, length)


def words(length: int, vocabulary: int = 99) -> Draw:
    return lambda generator: torch.randint(3, vocabulary, (1, length), generator=generator)


def same(number: int, length: int) -> Draw:
    return lambda _: torch.full((1, length), number)


def entry(model: str, shared: Options | None = None, *, inputs: Sequence[Draw] = (image(32),), **options: Any) -> Entry:
    return Entry(model, {**(shared or {}), **options}, inputs)


SMALL: Options = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
ENCODER: Options = {**SMALL, "intermediate_size": 96}
VISION: Options = {**ENCODER, "image_size": 32, "patch_size": 8}
TEXT: Options = {**ENCODER, "vocab_size": 99, "max_position_embeddings": 32}
WAVE: Options = {
    **ENCODER,
    "conv_dim": (32, 32, 32),
    "conv_stride": (5, 2, 2),
    "conv_kernel": (10, 3, 2),
    "num_feat_extract_layers": 3,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "classifier_proj_size": 32,
    "vocab_size": 32,
}
STAGES: Options = {"embedding_size": 16, "hidden_sizes": [16, 32, 48, 64], "depths": [1, 2, 2, 1]}
CONVNEXT: Options = {"hidden_sizes": [16, 24, 32, 48], "depths": [1, 1, 2, 1]}
PYRAMID: Options = {"hidden_sizes": [16, 32, 48, 64], "num_attention_heads": [1, 2, 3, 4], "depths": [1, 1, 1, 1]}
WINDOWS: Options = {
    "image_size": 64,
    "patch_size": 4,
    "embed_dim": 24,
    "depths": [2, 2],
    "num_heads": [2, 4],
    "window_size": 4,
}

ZOO: dict[str, Entry] = {
    # ---- image classification
    "vit": entry("ViTForImageClassification", VISION),
    "deit": entry("DeiTForImageClassificationWithTeacher", VISION),
    "beit": entry("BeitForImageClassification", VISION, use_relative_position_bias=True),
    "data2vec-vision": entry("Data2VecVisionForImageClassification", VISION),
    "dinov2": entry("Dinov2ForImageClassification", VISION, mlp_ratio=2),
    "dinov2-swiglu": entry("Dinov2ForImageClassification", VISION, use_swiglu_ffn=True),
    "dinov2-registers": entry("Dinov2WithRegistersForImageClassification", VISION),
    "dinov3-vit": entry("DINOv3ViTModel", VISION),
    "dinov3-convnext": entry("DINOv3ConvNextModel", CONVNEXT),
    "ijepa": entry("IJepaForImageClassification", VISION),
    "vit-msn": entry("ViTMSNForImageClassification", VISION),
    "clip-vision": entry(
        "CLIPForImageClassification", vision_config=VISION | {"projection_dim": 32}, text_config=TEXT,
    ),
    "siglip-vision": entry("SiglipForImageClassification", vision_config=VISION, text_config=TEXT),
    "vit-mae": entry("ViTMAEModel", VISION, mask_ratio=0.0),
    "imagegpt": entry(
        "ImageGPTForImageClassification", vocab_size=64, n_positions=64, n_embd=48, n_layer=2, n_head=4,
        use_cache=False, inputs=[words(32, vocabulary=63)],
    ),
    "hiera": entry(
        "HieraForImageClassification", image_size=[64, 64], patch_kernel=[7, 7], patch_stride=[4, 4],
        patch_padding=[3, 3], embed_dim=24, depths=[1, 1, 2, 1], num_heads=[1, 2, 4, 8], masked_unit_size=[8, 8],
        inputs=[image(64)],
    ),
    "convnext": entry("ConvNextForImageClassification", CONVNEXT),
    "convnextv2": entry("ConvNextV2ForImageClassification", CONVNEXT),
    "resnet-basic": entry("ResNetForImageClassification", STAGES, layer_type="basic"),
    "resnet-bottleneck": entry("ResNetForImageClassification", STAGES),
    "regnet-x": entry("RegNetForImageClassification", STAGES, layer_type="x", groups_width=8),
    "regnet-y": entry("RegNetForImageClassification", STAGES, layer_type="y", groups_width=8),
    "bit": entry(
        "BitForImageClassification", embedding_size=32, hidden_sizes=[32, 64, 96, 128], depths=[1, 1, 1, 1],
        num_groups=8,
    ),
    "mobilenet-v1": entry("MobileNetV1ForImageClassification", depth_multiplier=0.25),
    "mobilenet-v2": entry("MobileNetV2ForImageClassification", depth_multiplier=0.25),
    "efficientnet": entry(
        "EfficientNetForImageClassification", width_coefficient=0.25, depth_coefficient=0.3, hidden_dim=320,
        image_size=32,
    ),
    "hgnet-v2": entry(
        "HGNetV2ForImageClassification", embedding_size=16, hidden_sizes=[16, 32, 48, 64], stem_channels=[3, 16, 16],
        stage_in_channels=[16, 16, 32, 48], stage_mid_channels=[8, 12, 16, 24], stage_out_channels=[16, 32, 48, 64],
        stage_num_blocks=[1, 1, 1, 1], stage_numb_of_layers=[2, 2, 2, 2],
    ),
    "pp-lcnet": entry("PPLCNetForImageClassification", scale=0.5),
    "mobilevit": entry(
        "MobileViTForImageClassification", image_size=64, hidden_sizes=[32, 40, 48],
        neck_hidden_sizes=[8, 16, 24, 32, 40, 48, 64], inputs=[image(64)],
    ),
    "mobilevit-v2": entry(
        "MobileViTV2ForImageClassification", image_size=64, width_multiplier=0.25, inputs=[image(64)],
    ),
    "levit": entry(
        "LevitForImageClassification", image_size=64, hidden_sizes=[32, 48, 64], num_attention_heads=[2, 3, 4],
        depths=[1, 1, 1], key_dim=[8, 8, 8], inputs=[image(64)],
    ),
    "poolformer": entry("PoolFormerForImageClassification", CONVNEXT),
    "focalnet": entry("FocalNetForImageClassification", image_size=32, embed_dim=24, depths=[1, 1, 1, 1]),
    "swiftformer": entry(
        "SwiftFormerForImageClassification", image_size=64, embed_dims=[16, 24, 32, 48], depths=[1, 1, 1, 1],
        mlp_ratio=2, inputs=[image(64)],
    ),
    "pvt": entry("PvtForImageClassification", PYRAMID, image_size=64, mlp_ratios=[2, 2, 2, 2], inputs=[image(64)]),
    "pvt-v2": entry(
        "PvtV2ForImageClassification", PYRAMID, image_size=64, mlp_ratios=[2, 2, 2, 2], inputs=[image(64)],
    ),
    "segformer": entry("SegformerForImageClassification", PYRAMID, decoder_hidden_size=32, inputs=[image(64)]),
    "swin": entry("SwinForImageClassification", WINDOWS, inputs=[image(64)]),
    "swin-v2": entry("Swinv2ForImageClassification", WINDOWS, inputs=[image(64)]),
    "donut-swin": entry("DonutSwinForImageClassification", WINDOWS, inputs=[image(64)]),
    "textnet": entry(
        "TextNetForImageClassification", stem_out_channels=16, hidden_sizes=[16, 16, 24, 32, 48],
        conv_layer_kernel_sizes=[[[3, 3]], [[3, 3], [1, 3]], [[3, 3], [3, 1]], [[3, 3]]],
        conv_layer_strides=[[2], [2, 1], [2, 1], [2]],
    ),
    "perceiver": entry(
        "PerceiverForImageClassificationLearned", image_size=16, d_latents=32, num_latents=8, d_model=48,
        num_blocks=1, num_self_attends_per_block=2, num_self_attention_heads=4, num_cross_attention_heads=4,
        inputs=[image(16)],
    ),
    # ---- segmentation, depth, detection, super-resolution
    "segformer-dense": entry("SegformerForSemanticSegmentation", PYRAMID, decoder_hidden_size=32, inputs=[image(64)]),
    "mobilenet-v2-dense": entry("MobileNetV2ForSemanticSegmentation", depth_multiplier=0.25, inputs=[image(64)]),
    "mobilevit-dense": entry(
        "MobileViTForSemanticSegmentation", image_size=64, hidden_sizes=[32, 40, 48],
        neck_hidden_sizes=[8, 16, 24, 32, 40, 48, 64], aspp_out_channels=32, inputs=[image(64)],
    ),
    "beit-dense": entry(
        "BeitForSemanticSegmentation", VISION, num_hidden_layers=4, out_indices=[1, 2, 3, 4], auxiliary_channels=32,
        num_labels=5,
    ),
    "dpt": entry(
        "DPTForDepthEstimation", VISION, num_hidden_layers=4, backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[12, 16, 24, 24], fusion_hidden_size=16, is_hybrid=False,
    ),
    "glpn": entry("GLPNForDepthEstimation", PYRAMID, decoder_hidden_size=16, inputs=[image(64)]),
    "yolos": entry("YolosForObjectDetection", ENCODER, image_size=[32, 32], patch_size=8, num_detection_tokens=10),
    "swin2sr": entry(
        "Swin2SRForImageSuperResolution", image_size=16, embed_dim=24, depths=[2, 2], num_heads=[2, 2], window_size=4,
        upscale=2, mlp_ratio=2.0, inputs=[image(16)],
    ),
    "vitdet": entry(
        "VitDetModel", SMALL, image_size=32, patch_size=8, use_relative_position_embeddings=True, window_size=2,
        window_block_indices=[0],
    ),
    "sam-vision": entry(
        "SamVisionModel", SMALL, output_channels=16, image_size=32, patch_size=8, mlp_dim=96, window_size=2,
        global_attn_indexes=[1], num_pos_feats=16,
    ),
    "vivit": entry(
        "VivitForVideoClassification", ENCODER, image_size=32, num_frames=4, tubelet_size=[2, 8, 8],
        inputs=[noise(1, 4, 3, 32, 32)],
    ),
    "videomae": entry(
        "VideoMAEForVideoClassification", VISION, num_frames=4, tubelet_size=2, inputs=[noise(1, 4, 3, 32, 32)],
    ),
    "timesformer": entry("TimesformerForVideoClassification", VISION, num_frames=4, inputs=[noise(1, 4, 3, 32, 32)]),
    # ---- sound
    "ast": entry(
        "ASTForAudioClassification", ENCODER, patch_size=8, max_length=64, num_mel_bins=32, frequency_stride=8,
        time_stride=8, inputs=[noise(1, 64, 32)],
    ),
    "wav2vec2": entry("Wav2Vec2ForSequenceClassification", WAVE, inputs=[sound(1600)]),
    "wav2vec2-stable": entry(
        "Wav2Vec2ForSequenceClassification", WAVE, do_stable_layer_norm=True, feat_extract_norm="layer",
        inputs=[sound(1600)],
    ),
    "hubert": entry("HubertForSequenceClassification", WAVE, inputs=[sound(1600)]),
    "wavlm": entry("WavLMForSequenceClassification", WAVE, inputs=[sound(1600)]),
    "unispeech": entry("UniSpeechForSequenceClassification", WAVE, inputs=[sound(1600)]),
    "data2vec-audio": entry(
        "Data2VecAudioForSequenceClassification", WAVE, conv_pos_kernel_size=7, num_conv_pos_embeddings=2,
        inputs=[sound(1600)],
    ),
    "wav2vec2-conformer": entry("Wav2Vec2ConformerForSequenceClassification", WAVE, inputs=[sound(1600)]),
    "wav2vec2-bert": entry(
        "Wav2Vec2BertForSequenceClassification", ENCODER, feature_projection_input_dim=32, vocab_size=32,
        classifier_proj_size=32, inputs=[noise(1, 20, 32)],
    ),
    "sew": entry("SEWForSequenceClassification", WAVE, squeeze_factor=2, inputs=[sound(1600)]),
    "whisper-encoder": entry(
        "WhisperForAudioClassification", d_model=48, encoder_layers=2, encoder_attention_heads=4, encoder_ffn_dim=96,
        decoder_layers=1, decoder_attention_heads=4, decoder_ffn_dim=96, num_mel_bins=16, max_source_positions=32,
        vocab_size=99, pad_token_id=0, bos_token_id=1, eos_token_id=2, classifier_proj_size=32,
        inputs=[noise(1, 16, 64)],
    ),
    "encodec": entry(
        "EncodecModel", num_filters=8, hidden_size=32, codebook_size=16, upsampling_ratios=[4, 2],
        inputs=[noise(1, 1, 640)],
    ),
    "hifigan": entry(
        "SpeechT5HifiGan", model_in_dim=16, upsample_initial_channel=32, upsample_rates=[2, 2],
        upsample_kernel_sizes=[4, 4], resblock_kernel_sizes=[3], resblock_dilation_sizes=[[1, 3]],
        inputs=[noise(1, 20, 16)],
    ),
    # ---- text with image, text
    "clip": entry(
        "CLIPModel", vision_config=VISION, text_config=TEXT, projection_dim=32, inputs=[words(8), image(32)],
    ),
    "siglip": entry("SiglipModel", vision_config=VISION, text_config=TEXT, inputs=[words(8), image(32)]),
    "chinese-clip": entry(
        "ChineseCLIPModel", vision_config=VISION, text_config=TEXT, projection_dim=32, inputs=[words(8), image(32)],
    ),
    "blip": entry(
        "BlipModel", vision_config=VISION, text_config=TEXT, projection_dim=32, inputs=[words(8), image(32)],
    ),
    "flava-image": entry("FlavaImageModel", VISION),
    "groupvit": entry(
        "GroupViTVisionModel", VISION, depths=[1, 1, 1], num_group_tokens=[4, 2, 0], num_output_groups=[4, 2, 0],
    ),
    "vilt": entry(
        "ViltModel", VISION, vocab_size=99, max_position_embeddings=32,
        inputs=[words(8), same(1, 8), same(0, 8), image(32)],
    ),
    "bert": entry("BertForSequenceClassification", TEXT, inputs=[words(8)]),
    "llama": entry("LlamaModel", TEXT, num_key_value_heads=2, use_cache=False, inputs=[words(8)]),
    "albert-tied": entry("AlbertForSequenceClassification", TEXT, embedding_size=32, inputs=[words(8)]),
}  # fmt: skip
