#!/bin/bash
#SBATCH --no-requeue
#SBATCH --job-name="aiida-None"
#SBATCH --get-user-env
#SBATCH --output=_scheduler-stdout.txt
#SBATCH --error=_scheduler-stderr.txt
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=01:00:00
#SBATCH --gres=gpu:a100:1
#SBATCH --constraint=a100

'/opt/hamlr' 'predict' 'predict.yaml'  > 'hamlr.out'

echo $? > hamlr.status
