"""data_prep/class_embeddings.py: a labelled set and a network of timm to a table that StyleGAN-XL begins with."""

from safetensors.torch import load_file
from shrink import timm_file
from tiny import stylegan2_recipe, write_recipe

from t2igan.data.shards import Shards

pytest_plugins = ["kit"]


def test_a_table_has_a_row_for_each_class(kit, run_script, refused, tmp_path):
    shards = Shards(str(kit.shards))
    names = sorted({shards.captions(number)[0] for number in range(len(shards))})
    recipe = stylegan2_recipe(kit) | {"text": {"kind": "label", "num_classes": len(names), "names": names}}
    recipe["generator"], recipe["discriminator"] = ({**recipe[part], "adapter": None} for part in ("generator", "discriminator"))
    recipe["training"] |= {"prompts": []}
    path, out = write_recipe(tmp_path / "recipe.yaml", recipe), tmp_path / "rows.safetensors"
    model, weights = timm_file(kit, "test_efficientnet", 1000)
    command = ["class_embeddings.py", "--recipe", path, "--data", kit.shards, "--model", model, "--size", 32]
    done = run_script(*command, "--weights", weights, "--out", out)
    assert done.stdout == f"{out}: {len(names)} classes, embedding_width 64\n", done.stderr
    assert load_file(out)["class_embeddings"].shape == (len(names), 64)
    assert "no folder" in refused(*command, "--weights", weights, "--out", tmp_path / "none" / "rows.safetensors")
    assert "no weights at" in refused(*command, "--weights", tmp_path / "gone.pth", "--out", out)
