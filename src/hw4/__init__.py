"""hw4: a deep-learning homework that proves itself. The map; importing it loads nothing heavy.

======================== ====================== ========================================
question                 door                   notebook
======================== ====================== ========================================
1 Keras Tuner on MNIST   `hw4.tuning`           q1_keras_tuner
2 VGG16 against ResNet50 `hw4.transfer`         q2_transfer_learning
  its radiographs       `hw4.radiographs`
3 a failing LSTM         `hw4.recurrent`        q3_lstm_forecast
  its table             `hw4.gas`
4 RNN against CNN        `hw4.recurrent`        q4_rnn_vs_cnn
5 convolution arithmetic `hw4.conv_shapes`      q5_conv_shapes
6 batch normalisation    `hw4.batch_norm`       q6_batch_norm
7 Grad-CAM               `hw4.grad_cam`         q7_grad_cam
======================== ====================== ========================================

Shared by several: `claims` (verdicts), `runtime` (seeds, device, settings), `measure` (intervals,
stopwatch), `mnist` (the data), `training` (schedule, augmentation, fit); `plotting` draws what the
notebooks show, `tools` runs, checks and reports them.
"""

__version__ = "0.1.0"
