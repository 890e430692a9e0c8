#!/bin/bash
#SBATCH --no-requeue
#SBATCH --job-name="aiida-None"
#SBATCH --get-user-env
#SBATCH --output=_scheduler-stdout.txt
#SBATCH --error=_scheduler-stderr.txt
#SBATCH --partition=gpu
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --time=00:16:40
#SBATCH --gres=gpu:4

'/opt/hamlr' 'train' 'train.yaml' '--processes' '4'  > 'hamlr.out'

echo $? > hamlr.status
