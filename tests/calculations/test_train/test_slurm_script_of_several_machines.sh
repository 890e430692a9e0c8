#!/bin/bash
#SBATCH --no-requeue
#SBATCH --job-name="aiida-None"
#SBATCH --get-user-env
#SBATCH --output=_scheduler-stdout.txt
#SBATCH --error=_scheduler-stderr.txt
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --time=00:16:40
#SBATCH --gres=gpu:4

export MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)

'/opt/hamlr' 'train' 'train.yaml' '--processes' '4' '--machines' '2'  > 'hamlr.out'

echo $? > hamlr.status
