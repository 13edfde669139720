#!/bin/bash

# Parameters
#SBATCH --array=0-2%3
#SBATCH --cpus-per-task=1
#SBATCH --error=/tmp/wt/scale/gptfl-slurm/09af2f752fe50e63/jobs/%A_%a_0_log.err
#SBATCH --job-name=gptfl
#SBATCH --nodes=1
#SBATCH --open-mode=append
#SBATCH --output=/tmp/wt/scale/gptfl-slurm/09af2f752fe50e63/jobs/%A_%a_0_log.out
#SBATCH --signal=USR2@90
#SBATCH --time=60
#SBATCH --wckey=submitit

# command
export SUBMITIT_EXECUTOR=slurm
srun --unbuffered --output /tmp/wt/scale/gptfl-slurm/09af2f752fe50e63/jobs/%A_%a_%t_log.out --error /tmp/wt/scale/gptfl-slurm/09af2f752fe50e63/jobs/%A_%a_%t_log.err /work/main/.venv/bin/python -u -m submitit.core._submit /tmp/wt/scale/gptfl-slurm/09af2f752fe50e63/jobs
