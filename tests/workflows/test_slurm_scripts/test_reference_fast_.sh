#!/bin/bash
#SBATCH --no-requeue
#SBATCH --job-name="aiida-None"
#SBATCH --get-user-env
#SBATCH --output=_scheduler-stdout.txt
#SBATCH --error=_scheduler-stderr.txt
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=16
#SBATCH --time=02:00:00
#SBATCH --gres=gpu:1

'srun' '-n' '16' '/opt/pw' '-in' 'aiida.in'  > 'aiida.out'

#!/bin/bash
#SBATCH --no-requeue
#SBATCH --job-name="aiida-None"
#SBATCH --get-user-env
#SBATCH --output=_scheduler-stdout.txt
#SBATCH --error=_scheduler-stderr.txt
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=16
#SBATCH --time=02:00:00
#SBATCH --gres=gpu:1

'/opt/hamlr' 'reconstruct' 'reconstruct.yaml'  > 'hamlr.out'

echo $? > hamlr.status
