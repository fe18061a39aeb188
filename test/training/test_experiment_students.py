# SPDX-License-Identifier: Apache-2.0
"""Students share their teacher's episodes and are evaluated in both simulations."""

import itertools

from training.experiment_list import STUDENT_TASK, evaluation_steps, training_steps
from training.experiment_report import build_students
from training.experiment_step import Budget, Experiment
from training.experiment_students import STUDENTS


def test_they_share_lessons_and_pictures(tmp_path):
    def steps(method):
        return training_steps(Experiment(method, STUDENT_TASK), tmp_path, Budget(drawn=7))

    lessons, state_student, drawn, clone = steps("image_student")
    assert [lessons, state_student] == steps("state_student")
    assert list(lessons.command[2:4]) == ["--policy", "models/mug_rack"]
    words = dict(itertools.pairwise(drawn.command))
    assert (drawn.command[1], words["--episodes"]) == (str(lessons.output), "7")
    words = dict(itertools.pairwise(clone.command))
    assert words["--data"] == str(drawn.output)
    taught = dict(itertools.pairwise(state_student.command))
    assert words["--state-policy"] == taught["--out"]
    assert "--real" not in clone.command
    both = steps("real_10_sim")
    assert both[:3] == [lessons, state_student, drawn]
    real = steps("real_10")
    assert real[:-1] == both[3:5]
    assert steps("real_40")[0] == real[0]
    words = dict(itertools.pairwise(real[-1].command))
    assert words["--real"] == str(real[1].output)
    assert not {"--data", "--state-policy"} & set(words), "nobody knows poses on a robot"
    words = dict(itertools.pairwise(both[-1].command))
    assert (words["--data"], words["--real"]) == (str(drawn.output), str(real[1].output))


def test_they_are_taught_by_more_episodes(tmp_path):
    lessons, clone = training_steps(
        Experiment("state_student_1000", STUDENT_TASK), tmp_path, Budget(lessons=7)
    )
    first, *_ = training_steps(Experiment("state_student", STUDENT_TASK), tmp_path, Budget())
    words = dict(itertools.pairwise(lessons.command))
    assert (words["--episodes"], words["--policy"]) == ("1000", "models/mug_rack")
    assert lessons.output != first.output, "an interrupted one goes on"
    assert dict(itertools.pairwise(clone.command))["--data"] == str(lessons.output)


def test_they_are_evaluated_where_they_learned_and_in_the_standin(tmp_path):
    def how(method, task=STUDENT_TASK):
        return list(evaluation_steps(Experiment(method, task), tmp_path, Budget()).values())

    plain, standin, colors = (step.command for step in how("real_10_sim"))
    assert "--simulation" not in plain
    assert standin[-2:] == ("--simulation", "standin")
    assert colors[-4:] == ("--simulation", "standin", "--look", "standin_new_colors")
    assert len(how("state_student")) == 2
    assert how("shipped")[-1].command[-2:] == ("--simulation", "standin")
    assert len(how("shipped", "one_leg")) == 2


def test_the_table_has_a_row_for_each():
    result = {"seed": 0, "success_rate": 0.75, "ci95": [0.6, 0.86], "n": 40}
    name = Experiment("real_10_sim", STUDENT_TASK).name
    text = build_students({f"{name}-standin": result})
    row = next(
        line for line in text.splitlines() if line.startswith("| student, 10 real episodes a")
    )
    assert row.endswith("| not run | 75 [60, 86] n=40 (0 and 3 of 10) | not run |")
    assert text.count("not run") == 3 * (len(STUDENTS) + 1) - 1 - 2, "two see no colours"
