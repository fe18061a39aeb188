# SPDX-License-Identifier: Apache-2.0
"""Build description shared by pip and by colcon (ament_python).

The ROS 2 client library is deliberately an extra: with a ROS 2 installation it comes from there
(package.xml names it), without one `pip install -e .[ros-wheels]` brings it from wheels.
"""

from pathlib import Path

from setuptools import find_packages, setup

PACKAGE = "resip_ros"
ROOT = Path(__file__).parent
NODES = (
    "recorder",
    "sim_world",
    "camera",
    "tag_poses",
    "base_policy",
    "residual_policy",
    "franka_bridge",
    "teleop",
)

RUNTIME = [
    "franky-control>=2.0,<2.1",
    "franky-sim==1.0.4",
    "imageio>=2.34,<3",
    "imageio-ffmpeg>=0.5,<1",
    "matplotlib>=3.8,<4",
    "mcap>=1.6,<2",
    "mujoco==4.0.0",
    # 1.26 is what Ubuntu 24.04 and so ROS 2 Jazzy and Kilted are built with
    "numpy>=1.26,<3",
    "opencv-python-headless>=4.10,<6",
    "packaging>=23",
    "pillow>=10",
    "pyyaml>=6.0,<7",
    "rich>=13,<16",
    "rosbags>=0.11.9,<0.12",
    "safetensors>=0.4,<1",
    # Exact: a looser requirement resolves to the newest release with its own set of CUDA wheels.
    "torch==2.13.0",
]
TRAIN = [
    "kornia>=0.8,<1",
    "tensorboard>=2.16,<3",
    "tqdm>=4.66,<5",
    "tyro>=1.0,<2",
    "zarr>=3.0,<4",
]
GPU = ["mujoco-warp==4.0.0", "warp-lang==1.19.0"]
SCAN = ["coacd>=1.0.14,<2", "manifold3d>=3.5,<4", "trimesh>=5.2,<6"]
REALSENSE = ["pyrealsense2>=2.55,<3"]
LEROBOT = ["pyarrow>=17"]
WANDB = ["wandb>=0.18,<1"]
ROS_WHEELS = [
    "ros-kilted-rclpy[fastrtps]==9.1.2",
    "ros-diagnostic-msgs>=5.5,<6",
    "ros-geometry-msgs>=5.5,<6",
    "ros-sensor-msgs>=5.5,<6",
    "ros-std-srvs>=5.5,<6",
    "ros-trajectory-msgs>=5.5,<6",
]
# a SpaceMouse; needs the system's libhidapi
TELEOP = ["pyspacemouse>=2.1,<3"]
TEST = [
    "diffusers>=0.30,<1",  # what our noise schedule is held against
    "hypothesis>=6.100,<7",
    "mcap-ros2-support>=0.5,<1",  # a decoder of recordings that shares no code with ours
    "pytest>=8,<10",
    "pytest-timeout>=2.3,<3",
]
CHECK = ["pyright==1.1.414", "ruff==0.17.6", "types-PyYAML>=6.0,<7"]


def data_files() -> list[tuple[str, list[str]]]:
    """Lists what is installed below `share/`: the ament marker, launch files, config, models."""
    share = Path("share") / PACKAGE
    found = [
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (str(share), ["package.xml"]),
    ]
    for top in ("launch", "config", "models"):
        folders = [ROOT / top, *sorted((ROOT / top).rglob("*"))]
        for folder in folders:
            files = sorted(p for p in folder.glob("*") if p.is_file() and p.suffix != ".pyc")
            if files:
                target = share / folder.relative_to(ROOT)
                found.append((str(target), [str(p.relative_to(ROOT)) for p in files]))
    return found


setup(
    name=PACKAGE,
    version="0.1.0",
    packages=find_packages(include=[PACKAGE, f"{PACKAGE}.*", "training", "training.*"]),
    data_files=data_files(),
    python_requires=">=3.11",
    install_requires=RUNTIME,
    extras_require={
        "gpu": GPU,
        "lerobot": LEROBOT,
        "realsense": REALSENSE,
        "wandb": WANDB,
        "scan": SCAN,
        "ros-wheels": ROS_WHEELS,
        "train": TRAIN,
        "teleop": TELEOP,
        "test": TEST,
        "dev": [*TRAIN, *SCAN, *LEROBOT, *TEST, *CHECK],
    },
    zip_safe=False,
    maintainer="resip_ros maintainers",
    maintainer_email="maintainers@resip-ros.invalid",
    description="Residual policies for precise assembly: training, and ROS 2 nodes for a Franka.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "resip = resip_ros.cli:main",
            *(f"{name} = {PACKAGE}.nodes.{name}_node:main" for name in NODES),
        ],
    },
)
