"""The zoo of `tools/bench_zoo`: model classes of the transformers package, built small and with random weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

Inputs = tuple[Any, ...]


@dataclass(frozen=True)
class Entry:
    """One architecture: a model class, its configuration's arguments, and its example inputs."""

    model: str
    config: str
    arguments: dict[str, Any] = field(default_factory=dict)
    inputs: Callable[[], Inputs] = lambda: image(32)

    def build(self) -> nn.Module:
        import transformers

        torch.manual_seed(0)
        config = getattr(transformers, self.config)(**self.arguments)
        return getattr(transformers, self.model)(config).eval()  # type: ignore[no-any-return]


def image(side: int, batch: int = 1, channels: int = 3) -> tuple[Tensor, ...]:
    return (torch.randn(batch, channels, side, side, generator=torch.Generator().manual_seed(1)),)


def sound(length: int) -> tuple[Tensor, ...]:
    return (torch.randn(1, length, generator=torch.Generator().manual_seed(1)),)


def text_and_image(length: int, side: int, vocabulary: int = 99) -> tuple[Tensor, ...]:
    return (torch.randint(3, vocabulary, (1, length), generator=torch.Generator().manual_seed(1)), *image(side))


ENCODER: dict[str, Any] = {
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 96,
}
VISION: dict[str, Any] = {**ENCODER, "image_size": 32, "patch_size": 8}
TEXT: dict[str, Any] = {**ENCODER, "vocab_size": 99, "max_position_embeddings": 32}
WAVE: dict[str, Any] = {
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
STAGES: dict[str, Any] = {"embedding_size": 16, "hidden_sizes": [16, 32, 48, 64], "depths": [1, 2, 2, 1]}
WINDOWS: dict[str, Any] = {
    "image_size": 64,
    "patch_size": 4,
    "embed_dim": 24,
    "depths": [2, 2],
    "num_heads": [2, 4],
    "window_size": 4,
}


def pair(vision: dict[str, Any], text: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"vision_config": vision, "text_config": text, **more}


ZOO: dict[str, Entry] = {
    # ---- image classification
    "vit": Entry("ViTForImageClassification", "ViTConfig", VISION),
    "deit": Entry("DeiTForImageClassificationWithTeacher", "DeiTConfig", VISION),
    "beit": Entry("BeitForImageClassification", "BeitConfig", {**VISION, "use_relative_position_bias": True}),
    "data2vec-vision": Entry("Data2VecVisionForImageClassification", "Data2VecVisionConfig", VISION),
    "dinov2": Entry("Dinov2ForImageClassification", "Dinov2Config", {**VISION, "mlp_ratio": 2}),
    "dinov2-swiglu": Entry("Dinov2ForImageClassification", "Dinov2Config", {**VISION, "use_swiglu_ffn": True}),
    "dinov2-registers": Entry("Dinov2WithRegistersForImageClassification", "Dinov2WithRegistersConfig", VISION),
    "dinov3-vit": Entry("DINOv3ViTModel", "DINOv3ViTConfig", VISION),
    "dinov3-convnext": Entry(
        "DINOv3ConvNextModel", "DINOv3ConvNextConfig", {"hidden_sizes": [16, 24, 32, 48], "depths": [1, 1, 2, 1]}
    ),
    "ijepa": Entry("IJepaForImageClassification", "IJepaConfig", VISION),
    "vit-msn": Entry("ViTMSNForImageClassification", "ViTMSNConfig", VISION),
    "clip-vision": Entry("CLIPForImageClassification", "CLIPConfig", pair({**VISION, "projection_dim": 32}, TEXT)),
    "siglip-vision": Entry("SiglipForImageClassification", "SiglipConfig", pair(VISION, TEXT)),
    "vit-mae": Entry("ViTMAEModel", "ViTMAEConfig", {**VISION, "mask_ratio": 0.0}),
    "imagegpt": Entry(
        "ImageGPTForImageClassification",
        "ImageGPTConfig",
        {"vocab_size": 64, "n_positions": 64, "n_embd": 48, "n_layer": 2, "n_head": 4, "use_cache": False},
        lambda: (torch.randint(0, 63, (1, 32)),),
    ),
    "hiera": Entry(
        "HieraForImageClassification",
        "HieraConfig",
        {
            "image_size": [64, 64],
            "patch_kernel": [7, 7],
            "patch_stride": [4, 4],
            "patch_padding": [3, 3],
            "embed_dim": 24,
            "depths": [1, 1, 2, 1],
            "num_heads": [1, 2, 4, 8],
            "masked_unit_size": [8, 8],
        },
        lambda: image(64),
    ),
    "convnext": Entry(
        "ConvNextForImageClassification", "ConvNextConfig", {"hidden_sizes": [16, 24, 32, 48], "depths": [1, 1, 2, 1]}
    ),
    "convnextv2": Entry(
        "ConvNextV2ForImageClassification",
        "ConvNextV2Config",
        {"hidden_sizes": [16, 24, 32, 48], "depths": [1, 1, 2, 1]},
    ),
    "resnet-basic": Entry("ResNetForImageClassification", "ResNetConfig", {**STAGES, "layer_type": "basic"}),
    "resnet-bottleneck": Entry("ResNetForImageClassification", "ResNetConfig", STAGES),
    "regnet-x": Entry("RegNetForImageClassification", "RegNetConfig", {**STAGES, "layer_type": "x", "groups_width": 8}),
    "regnet-y": Entry("RegNetForImageClassification", "RegNetConfig", {**STAGES, "layer_type": "y", "groups_width": 8}),
    "bit": Entry(
        "BitForImageClassification",
        "BitConfig",
        {"embedding_size": 32, "hidden_sizes": [32, 64, 96, 128], "depths": [1, 1, 1, 1], "num_groups": 8},
    ),
    "mobilenet-v1": Entry("MobileNetV1ForImageClassification", "MobileNetV1Config", {"depth_multiplier": 0.25}),
    "mobilenet-v2": Entry("MobileNetV2ForImageClassification", "MobileNetV2Config", {"depth_multiplier": 0.25}),
    "efficientnet": Entry(
        "EfficientNetForImageClassification",
        "EfficientNetConfig",
        {"width_coefficient": 0.25, "depth_coefficient": 0.3, "hidden_dim": 320, "image_size": 32},
    ),
    "hgnet-v2": Entry(
        "HGNetV2ForImageClassification",
        "HGNetV2Config",
        {
            "embedding_size": 16,
            "hidden_sizes": [16, 32, 48, 64],
            "stem_channels": [3, 16, 16],
            "stage_in_channels": [16, 16, 32, 48],
            "stage_mid_channels": [8, 12, 16, 24],
            "stage_out_channels": [16, 32, 48, 64],
            "stage_num_blocks": [1, 1, 1, 1],
            "stage_numb_of_layers": [2, 2, 2, 2],
        },
    ),
    "pp-lcnet": Entry("PPLCNetForImageClassification", "PPLCNetConfig", {"scale": 0.5}),
    "mobilevit": Entry(
        "MobileViTForImageClassification",
        "MobileViTConfig",
        {"image_size": 64, "hidden_sizes": [32, 40, 48], "neck_hidden_sizes": [8, 16, 24, 32, 40, 48, 64]},
        lambda: image(64),
    ),
    "mobilevit-v2": Entry(
        "MobileViTV2ForImageClassification",
        "MobileViTV2Config",
        {"image_size": 64, "width_multiplier": 0.25},
        lambda: image(64),
    ),
    "levit": Entry(
        "LevitForImageClassification",
        "LevitConfig",
        {
            "image_size": 64,
            "hidden_sizes": [32, 48, 64],
            "num_attention_heads": [2, 3, 4],
            "depths": [1, 1, 1],
            "key_dim": [8, 8, 8],
        },
        lambda: image(64),
    ),
    "poolformer": Entry(
        "PoolFormerForImageClassification",
        "PoolFormerConfig",
        {"hidden_sizes": [16, 24, 32, 48], "depths": [1, 1, 2, 1]},
    ),
    "focalnet": Entry(
        "FocalNetForImageClassification", "FocalNetConfig", {"image_size": 32, "embed_dim": 24, "depths": [1, 1, 1, 1]}
    ),
    "swiftformer": Entry(
        "SwiftFormerForImageClassification",
        "SwiftFormerConfig",
        {"image_size": 64, "embed_dims": [16, 24, 32, 48], "depths": [1, 1, 1, 1], "mlp_ratio": 2},
        lambda: image(64),
    ),
    "pvt": Entry(
        "PvtForImageClassification",
        "PvtConfig",
        {
            "image_size": 64,
            "hidden_sizes": [16, 32, 48, 64],
            "num_attention_heads": [1, 2, 3, 4],
            "depths": [1, 1, 1, 1],
            "mlp_ratios": [2, 2, 2, 2],
        },
        lambda: image(64),
    ),
    "pvt-v2": Entry(
        "PvtV2ForImageClassification",
        "PvtV2Config",
        {
            "image_size": 64,
            "hidden_sizes": [16, 32, 48, 64],
            "num_attention_heads": [1, 2, 3, 4],
            "depths": [1, 1, 1, 1],
            "mlp_ratios": [2, 2, 2, 2],
        },
        lambda: image(64),
    ),
    "segformer": Entry(
        "SegformerForImageClassification",
        "SegformerConfig",
        {
            "hidden_sizes": [16, 32, 48, 64],
            "num_attention_heads": [1, 2, 3, 4],
            "depths": [1, 1, 1, 1],
            "decoder_hidden_size": 32,
        },
        lambda: image(64),
    ),
    "swin": Entry("SwinForImageClassification", "SwinConfig", WINDOWS, lambda: image(64)),
    "swin-v2": Entry("Swinv2ForImageClassification", "Swinv2Config", WINDOWS, lambda: image(64)),
    "donut-swin": Entry("DonutSwinForImageClassification", "DonutSwinConfig", WINDOWS, lambda: image(64)),
    "textnet": Entry(
        "TextNetForImageClassification",
        "TextNetConfig",
        {
            "stem_out_channels": 16,
            "hidden_sizes": [16, 16, 24, 32, 48],
            "conv_layer_kernel_sizes": [[[3, 3]], [[3, 3], [1, 3]], [[3, 3], [3, 1]], [[3, 3]]],
            "conv_layer_strides": [[2], [2, 1], [2, 1], [2]],
        },
    ),
    "perceiver": Entry(
        "PerceiverForImageClassificationLearned",
        "PerceiverConfig",
        {
            "image_size": 16,
            "d_latents": 32,
            "num_latents": 8,
            "d_model": 48,
            "num_blocks": 1,
            "num_self_attends_per_block": 2,
            "num_self_attention_heads": 4,
            "num_cross_attention_heads": 4,
        },
        lambda: image(16),
    ),
    # ---- segmentation, depth, detection, super-resolution
    "segformer-dense": Entry(
        "SegformerForSemanticSegmentation",
        "SegformerConfig",
        {
            "hidden_sizes": [16, 32, 48, 64],
            "num_attention_heads": [1, 2, 3, 4],
            "depths": [1, 1, 1, 1],
            "decoder_hidden_size": 32,
        },
        lambda: image(64),
    ),
    "mobilenet-v2-dense": Entry(
        "MobileNetV2ForSemanticSegmentation", "MobileNetV2Config", {"depth_multiplier": 0.25}, lambda: image(64)
    ),
    "mobilevit-dense": Entry(
        "MobileViTForSemanticSegmentation",
        "MobileViTConfig",
        {
            "image_size": 64,
            "hidden_sizes": [32, 40, 48],
            "neck_hidden_sizes": [8, 16, 24, 32, 40, 48, 64],
            "aspp_out_channels": 32,
        },
        lambda: image(64),
    ),
    "beit-dense": Entry(
        "BeitForSemanticSegmentation",
        "BeitConfig",
        {**VISION, "num_hidden_layers": 4, "out_indices": [1, 2, 3, 4], "auxiliary_channels": 32, "num_labels": 5},
    ),
    "dpt": Entry(
        "DPTForDepthEstimation",
        "DPTConfig",
        {
            **VISION,
            "num_hidden_layers": 4,
            "backbone_out_indices": [0, 1, 2, 3],
            "neck_hidden_sizes": [12, 16, 24, 24],
            "fusion_hidden_size": 16,
            "is_hybrid": False,
        },
    ),
    "glpn": Entry(
        "GLPNForDepthEstimation",
        "GLPNConfig",
        {
            "hidden_sizes": [16, 32, 48, 64],
            "num_attention_heads": [1, 2, 3, 4],
            "depths": [1, 1, 1, 1],
            "decoder_hidden_size": 16,
        },
        lambda: image(64),
    ),
    "yolos": Entry(
        "YolosForObjectDetection",
        "YolosConfig",
        {**ENCODER, "image_size": [32, 32], "patch_size": 8, "num_detection_tokens": 10},
    ),
    "swin2sr": Entry(
        "Swin2SRForImageSuperResolution",
        "Swin2SRConfig",
        {
            "image_size": 16,
            "embed_dim": 24,
            "depths": [2, 2],
            "num_heads": [2, 2],
            "window_size": 4,
            "upscale": 2,
            "mlp_ratio": 2.0,
        },
        lambda: image(16),
    ),
    "vitdet": Entry(
        "VitDetModel",
        "VitDetConfig",
        {
            **{k: v for k, v in VISION.items() if k != "intermediate_size"},
            "use_relative_position_embeddings": True,
            "window_size": 2,
            "window_block_indices": [0],
        },
    ),
    "sam-vision": Entry(
        "SamVisionModel",
        "SamVisionConfig",
        {
            "hidden_size": 48,
            "output_channels": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "image_size": 32,
            "patch_size": 8,
            "mlp_dim": 96,
            "window_size": 2,
            "global_attn_indexes": [1],
            "num_pos_feats": 16,
        },
    ),
    "vivit": Entry(
        "VivitForVideoClassification",
        "VivitConfig",
        {**{k: v for k, v in VISION.items() if k != "patch_size"}, "num_frames": 4, "tubelet_size": [2, 8, 8]},
        lambda: (torch.randn(1, 4, 3, 32, 32),),
    ),
    "videomae": Entry(
        "VideoMAEForVideoClassification",
        "VideoMAEConfig",
        {**VISION, "num_frames": 4, "tubelet_size": 2},
        lambda: (torch.randn(1, 4, 3, 32, 32),),
    ),
    "timesformer": Entry(
        "TimesformerForVideoClassification",
        "TimesformerConfig",
        {**VISION, "num_frames": 4},
        lambda: (torch.randn(1, 4, 3, 32, 32),),
    ),
    # ---- sound
    "ast": Entry(
        "ASTForAudioClassification",
        "ASTConfig",
        {**ENCODER, "patch_size": 8, "max_length": 64, "num_mel_bins": 32, "frequency_stride": 8, "time_stride": 8},
        lambda: (torch.randn(1, 64, 32),),
    ),
    "wav2vec2": Entry("Wav2Vec2ForSequenceClassification", "Wav2Vec2Config", WAVE, lambda: sound(1600)),
    "wav2vec2-stable": Entry(
        "Wav2Vec2ForSequenceClassification",
        "Wav2Vec2Config",
        {**WAVE, "do_stable_layer_norm": True, "feat_extract_norm": "layer"},
        lambda: sound(1600),
    ),
    "hubert": Entry("HubertForSequenceClassification", "HubertConfig", WAVE, lambda: sound(1600)),
    "wavlm": Entry("WavLMForSequenceClassification", "WavLMConfig", WAVE, lambda: sound(1600)),
    "unispeech": Entry("UniSpeechForSequenceClassification", "UniSpeechConfig", WAVE, lambda: sound(1600)),
    "data2vec-audio": Entry(
        "Data2VecAudioForSequenceClassification",
        "Data2VecAudioConfig",
        {
            **{k: v for k, v in WAVE.items() if k != "num_conv_pos_embeddings"},
            "conv_pos_kernel_size": 7,
            "num_conv_pos_embeddings": 2,
        },
        lambda: sound(1600),
    ),
    "wav2vec2-conformer": Entry(
        "Wav2Vec2ConformerForSequenceClassification", "Wav2Vec2ConformerConfig", WAVE, lambda: sound(1600)
    ),
    "wav2vec2-bert": Entry(
        "Wav2Vec2BertForSequenceClassification",
        "Wav2Vec2BertConfig",
        {**ENCODER, "feature_projection_input_dim": 32, "vocab_size": 32, "classifier_proj_size": 32},
        lambda: (torch.randn(1, 20, 32),),
    ),
    "sew": Entry("SEWForSequenceClassification", "SEWConfig", {**WAVE, "squeeze_factor": 2}, lambda: sound(1600)),
    "whisper-encoder": Entry(
        "WhisperForAudioClassification",
        "WhisperConfig",
        {
            "d_model": 48,
            "encoder_layers": 2,
            "encoder_attention_heads": 4,
            "encoder_ffn_dim": 96,
            "decoder_layers": 1,
            "decoder_attention_heads": 4,
            "decoder_ffn_dim": 96,
            "num_mel_bins": 16,
            "max_source_positions": 32,
            "vocab_size": 99,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "classifier_proj_size": 32,
        },
        lambda: (torch.randn(1, 16, 64),),
    ),
    "encodec": Entry(
        "EncodecModel",
        "EncodecConfig",
        {"num_filters": 8, "hidden_size": 32, "codebook_size": 16, "upsampling_ratios": [4, 2]},
        lambda: (torch.randn(1, 1, 640),),
    ),
    "hifigan": Entry(
        "SpeechT5HifiGan",
        "SpeechT5HifiGanConfig",
        {
            "model_in_dim": 16,
            "upsample_initial_channel": 32,
            "upsample_rates": [2, 2],
            "upsample_kernel_sizes": [4, 4],
            "resblock_kernel_sizes": [3],
            "resblock_dilation_sizes": [[1, 3]],
        },
        lambda: (torch.randn(1, 20, 16),),
    ),
    # ---- text with image, text
    "clip": Entry("CLIPModel", "CLIPConfig", pair(VISION, TEXT, projection_dim=32), lambda: text_and_image(8, 32)),
    "siglip": Entry("SiglipModel", "SiglipConfig", pair(VISION, TEXT), lambda: text_and_image(8, 32)),
    "chinese-clip": Entry(
        "ChineseCLIPModel", "ChineseCLIPConfig", pair(VISION, TEXT, projection_dim=32), lambda: text_and_image(8, 32)
    ),
    "blip": Entry("BlipModel", "BlipConfig", pair(VISION, TEXT, projection_dim=32), lambda: text_and_image(8, 32)),
    "flava-image": Entry("FlavaImageModel", "FlavaImageConfig", VISION),
    "groupvit": Entry(
        "GroupViTVisionModel",
        "GroupViTVisionConfig",
        {**VISION, "depths": [1, 1, 1], "num_group_tokens": [4, 2, 0], "num_output_groups": [4, 2, 0]},
    ),
    "vilt": Entry(
        "ViltModel",
        "ViltConfig",
        {**VISION, "vocab_size": 99, "max_position_embeddings": 32},
        lambda: (
            torch.randint(3, 99, (1, 8)),
            torch.ones(1, 8, dtype=torch.int64),
            torch.zeros(1, 8, dtype=torch.int64),
            *image(32),
        ),
    ),
    "bert": Entry("BertForSequenceClassification", "BertConfig", TEXT, lambda: (torch.randint(3, 99, (1, 8)),)),
    "llama": Entry(
        "LlamaModel",
        "LlamaConfig",
        {**TEXT, "num_key_value_heads": 2, "use_cache": False},
        lambda: (torch.randint(3, 99, (1, 8)),),
    ),
    "albert-tied": Entry(
        "AlbertForSequenceClassification",
        "AlbertConfig",
        {**TEXT, "embedding_size": 32},
        lambda: (torch.randint(3, 99, (1, 8)),),
    ),
}
